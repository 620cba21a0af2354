import IOLoop
import Synchronization

/// The outcome of a commit that has not begun yet, for all that wait for it.
final class CommitTicket: Sendable {
    private let outcome = Mutex<Result<Void, Errno>?>(nil)
    private let queue = WaitQueue()

    /// The commit has ended.
    func resolve(_ result: Result<Void, Errno>) {
        outcome.withLock { $0 = result }
        queue.notifyAll()
    }

    /// Returns when the commit has ended; throws its error.
    func wait() async throws(Errno) {
        await queue.wait(until: { outcome.withLock { $0 != nil } })
        if case .failure(let error) = outcome.withLock({ $0 }) { throw error }
    }
}
