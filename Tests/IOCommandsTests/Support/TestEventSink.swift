import BlockGraph
import IOLoop
import Synchronization

/// Breakpoints as `blkdebug` has them.
final class TestEventSink: DebugEventSink {
    private struct State {
        var breakpoints: [String: DebugEvent] = [:]
        var suspended: [String: [UnsafeContinuation<Void, Never>]] = [:]
    }

    private let state = Mutex(State())
    private let changes = WaitQueue()

    func debugEvent(_ event: DebugEvent) async {
        await withUnsafeContinuation { continuation in
            let isSuspended = state.withLock { state in
                guard let tag = state.breakpoints.first(where: { $0.value == event })?.key else { return false }
                state.breakpoints[tag] = nil
                state.suspended[tag, default: []].append(continuation)
                return true
            }
            if isSuspended { changes.notifyAll() } else { continuation.resume() }
        }
    }

    func setBreakpoint(_ event: DebugEvent, tag: String) -> Bool {
        guard event == .readAIO || event == .pwritev else { return false }
        state.withLock { $0.breakpoints[tag] = event }
        return true
    }

    func resume(tag: String) -> Bool {
        let waiting = state.withLock { $0.suspended.removeValue(forKey: tag) }
        for continuation in waiting ?? [] { continuation.resume() }
        return waiting != nil
    }

    func removeBreakpoint(tag: String) -> Bool {
        let hadBreakpoint = state.withLock { $0.breakpoints.removeValue(forKey: tag) != nil }
        return resume(tag: tag) || hadBreakpoint
    }

    func removeAllBreakpoints() {
        let tags = state.withLock { state in
            defer { state.breakpoints = [:] }
            return state.suspended.keys
        }
        for tag in tags { _ = resume(tag: tag) }
    }

    func isSuspended(tag: String) -> Bool { state.withLock { $0.suspended[tag] != nil } }

    func waitUntilSuspended(tag: String) async {
        await changes.wait(until: { isSuspended(tag: tag) })
    }
}
