import BlockGraph
import Synchronization

/// The breakpoints of a `blkdebug` node, and the requests that they have halted.
final class BlkdebugBreakpoints: Sendable {
    private struct State {
        var breakpoints: [(event: DebugEvent, tag: String)] = []
        var suspended: [(tag: String, continuation: UnsafeContinuation<Void, Never>)] = []
        var waiters: [(tag: String, continuation: UnsafeContinuation<Void, Never>)] = []
    }

    private let state = Mutex(State())
    /// Spares requests the lock while there are no breakpoints.
    private let isArmed = Atomic<Bool>(false)
    private let report: @Sendable (String) -> Void

    init(report: @escaping @Sendable (String) -> Void) { self.report = report }

    /// Halts the next request that causes the event. Each breakpoint halts one request; of several, the newest comes first.
    func set(_ event: DebugEvent, tag: String) {
        state.withLock {
            $0.breakpoints.append((event, tag))
            isArmed.store(true, ordering: .releasing)
        }
    }

    /// Passes an event; halts there if there is a breakpoint.
    func pass(_ event: DebugEvent) async {
        guard isArmed.load(ordering: .acquiring) else { return }
        await withUnsafeContinuation { continuation in
            let halt = state.withLock { state -> (tag: String, waiters: [UnsafeContinuation<Void, Never>])? in
                guard let index = state.breakpoints.lastIndex(where: { $0.event == event }) else { return nil }
                let tag = state.breakpoints.remove(at: index).tag
                isArmed.store(!state.breakpoints.isEmpty, ordering: .releasing)
                state.suspended.append((tag, continuation))
                let waiters = state.waiters.filter { $0.tag == tag }.map(\.continuation)
                state.waiters.removeAll { $0.tag == tag }
                return (tag, waiters)
            }
            guard let halt else { return continuation.resume() }
            report("blkdebug: Suspended request '\(halt.tag)'")
            for waiter in halt.waiters { waiter.resume() }
        }
    }

    /// Lets one request with the tag go on, the one that was halted first; false where there is none.
    func resume(tag: String) -> Bool {
        let continuation = state.withLock { state -> UnsafeContinuation<Void, Never>? in
            guard let index = state.suspended.firstIndex(where: { $0.tag == tag }) else { return nil }
            return state.suspended.remove(at: index).continuation
        }
        guard let continuation else { return false }
        report("blkdebug: Resuming request '\(tag)'")
        continuation.resume()
        return true
    }

    /// Removes the breakpoints with the tag that have not halted anything yet, and lets all halted requests with it go on.
    /// False where there was no such breakpoint.
    func remove(tag: String) -> Bool {
        let hadBreakpoint = state.withLock { state in
            let count = state.breakpoints.count
            state.breakpoints.removeAll { $0.tag == tag }
            isArmed.store(!state.breakpoints.isEmpty, ordering: .releasing)
            return state.breakpoints.count < count
        }
        while resume(tag: tag) {}
        return hadBreakpoint
    }

    /// Removes all breakpoints, and lets all halted requests go on, and those who wait for one to be halted.
    func removeAll() {
        let continuations = state.withLock { state in
            defer { state = State() }
            isArmed.store(false, ordering: .releasing)
            return state.suspended.map(\.continuation) + state.waiters.map(\.continuation)
        }
        for continuation in continuations { continuation.resume() }
    }

    /// Whether a request with the tag is halted.
    func isSuspended(tag: String) -> Bool { state.withLock { $0.suspended.contains { $0.tag == tag } } }

    /// Returns when a request with the tag is halted.
    func waitUntilSuspended(tag: String) async {
        await withUnsafeContinuation { continuation in
            let isThere = state.withLock { state in
                if state.suspended.contains(where: { $0.tag == tag }) { return true }
                state.waiters.append((tag, continuation))
                return false
            }
            if isThere { continuation.resume() }
        }
    }
}
