import IOLoop
import Synchronization

/// Counts asynchronous requests, and lets others wait for their end.
public final class OutstandingRequests: Sendable {
    private let number = Mutex(0)
    private let waiters = WaitQueue()
    /// A larger set that the requests belong to as well.
    private let parent: OutstandingRequests?

    /// An empty set; its requests count in `parent` too.
    public init(in parent: OutstandingRequests? = nil) { self.parent = parent }

    /// The number of requests that have not ended.
    public var count: Int { number.withLock { $0 } }

    /// Returns when there is none.
    public func waitUntilEmpty() async {
        await waiters.wait(until: { number.withLock { $0 == 0 } })
    }

    /// Counts one in.
    func begin() {
        number.withLock { $0 += 1 }
        parent?.begin()
    }

    /// Counts one out.
    func end() {
        number.withLock { $0 -= 1 }
        waiters.notifyAll()
        parent?.end()
    }
}
