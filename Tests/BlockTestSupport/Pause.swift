import IOLoop
import Synchronization

/// A place where requests stop until a test lets them go on.
public final class Pause: Sendable {
    private struct State {
        var held = 0
        var isOpen = false
        /// How many more requests are to stop.
        var limit: Int
    }

    private let state: Mutex<State>
    private let queue = WaitQueue()

    /// A closed one that stops the first `limit` requests.
    public init(limit: Int = .max) { state = Mutex(State(limit: limit)) }

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
        let stops = state.withLock { state in
            guard state.limit > 0 else { return false }
            state.limit -= 1
            state.held += 1
            return true
        }
        guard stops else { return }
        queue.notifyAll()
        await queue.wait(until: { state.withLock { $0.isOpen } })
        state.withLock { $0.held -= 1 }
        queue.notifyAll()
    }
}
