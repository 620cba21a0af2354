import BlockDrivers
import IOLoop
import Synchronization

/// A clock for tests that moves only when it is told to.
final class ManualClock: ThrottleClock {
    private struct State {
        var now = MonotonicTime(nanoseconds: 1_000_000_000)
        var sleepers: [Int: (deadline: MonotonicTime, continuation: UnsafeContinuation<Void, Never>)] = [:]
        var cancelled: Set<Int> = []
        var lastNumber = 0
    }

    private let state = Mutex(State())

    var now: MonotonicTime { state.withLock { $0.now } }
    /// The number of sleeping tasks.
    var sleeperCount: Int { state.withLock { $0.sleepers.count } }

    func sleep(until deadline: MonotonicTime) async {
        let number = state.withLock { state in
            state.lastNumber += 1
            return state.lastNumber
        }
        await withTaskCancellationHandler {
            await withUnsafeContinuation { continuation in
                let mustWait = state.withLock { state in
                    guard deadline > state.now, state.cancelled.remove(number) == nil else { return false }
                    state.sleepers[number] = (deadline, continuation)
                    return true
                }
                if !mustWait { continuation.resume() }
            }
        } onCancel: {
            let continuation = state.withLock { state in
                guard let sleeper = state.sleepers.removeValue(forKey: number) else {
                    state.cancelled.insert(number)
                    return nil as UnsafeContinuation<Void, Never>?
                }
                return sleeper.continuation
            }
            continuation?.resume()
        }
    }

    /// Moves the clock on, and wakes those whose time has come.
    func advance(by duration: Duration) {
        let woken = state.withLock { state in
            state.now = state.now.advanced(by: duration)
            let due = state.sleepers.filter { $0.value.deadline <= state.now }
            for number in due.keys { state.sleepers[number] = nil }
            return due.values.map(\.continuation)
        }
        for continuation in woken { continuation.resume() }
    }
}
