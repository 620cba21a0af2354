import IOLoop
import Synchronization

/// A place where requests stop until a test lets them go on.
public final class Pause: Sendable {
    private struct State {
        var held = 0
        var isOpen = false
    }

    private let state = Mutex(State())
    private let queue = WaitQueue()

    /// A closed one.
    public init() {}

    /// The number of requests that stand here.
    public var heldCount: Int { state.withLock { $0.held } }

    /// Returns when at least `count` requests stand here.
    public func waitUntilHeld(_ count: Int = 1) async {
        await queue.wait(until: { heldCount >= count })
    }

    /// Lets all requests go on, those that come later as well.
    public func resume() {
        state.withLock { $0.isOpen = true }
        queue.notifyAll()
    }

    /// Stands here until `resume()`.
    public func hold() async {
        state.withLock { $0.held += 1 }
        queue.notifyAll()
        await queue.wait(until: { state.withLock { $0.isOpen } })
        state.withLock { $0.held -= 1 }
        queue.notifyAll()
    }
}
