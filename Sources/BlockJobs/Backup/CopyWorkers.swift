import BlockDrivers
import BlockGraph
import IOLoop
import Synchronization

/// Tasks on the main loop that copy area after area, until nothing is left, something fails, or they are told to stop.
final class CopyWorkers: Sendable {
    private struct State {
        var running = 0
        var isStopped = false
        var hasFinished = false
        var failure: (errno: Errno, isRead: Bool)?
    }

    private let copy: BackgroundCopy
    private let backend: BlockBackend?
    private let state = Mutex(State())
    private let changes = WaitQueue()

    init(_ copy: BackgroundCopy, through backend: BlockBackend?) {
        self.copy = copy
        self.backend = backend
    }

    /// Starts the tasks; `whenIdle` is called by the last one at its end.
    func start(count: Int, whenIdle: @escaping @Sendable () -> Void) {
        state.withLock { $0.running = count }
        for _ in 0..<count {
            Task(executorPreference: IOLoop.main) {
                await self.work()
                let isLast = self.state.withLock { state in
                    state.running -= 1
                    return state.running == 0
                }
                guard isLast else { return }
                self.changes.notifyAll()
                whenIdle()
            }
        }
    }

    private func work() async {
        while !state.withLock({ $0.isStopped }) {
            switch await copy.copyNext(through: backend) {
            case .copied: break
            case .finished:
                state.withLock { state in
                    state.isStopped = true
                    state.hasFinished = true
                }
            case .broken: stop()
            case .failed(let errno, let isRead):
                state.withLock { state in
                    state.isStopped = true
                    state.failure = state.failure ?? (errno, isRead)
                }
            }
        }
    }

    /// Has no more copies begin.
    func stop() { state.withLock { $0.isStopped = true } }

    /// Whether all tasks have ended.
    var areIdle: Bool { state.withLock { $0.running == 0 } }
    /// Whether a task has found nothing more to begin.
    var hasFinished: Bool { state.withLock { $0.hasFinished } }
    /// The first copy that failed.
    var failure: (errno: Errno, isRead: Bool)? { state.withLock { $0.failure } }

    /// Returns when all tasks have ended.
    func waitUntilIdle() async { await changes.wait(until: { areIdle }) }
}
