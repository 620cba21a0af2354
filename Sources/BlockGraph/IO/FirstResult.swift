import IOLoop
import Synchronization

/// What the first of several tasks ends with: an error, or nil for success. Later results are dropped.
public final class FirstResult: Sendable {
    private enum State {
        case running
        case waiting(UnsafeContinuation<Errno?, Never>)
        case finished(Errno?)
    }

    private let state = Mutex(State.running)

    /// No result yet.
    public init() {}

    /// Sets the result, unless there is one already.
    public func finish(with result: Errno?) {
        let waiter = state.withLock { state -> UnsafeContinuation<Errno?, Never>? in
            switch state {
            case .running: state = .finished(result)
            case .waiting(let continuation):
                state = .finished(result)
                return continuation
            case .finished: break
            }
            return nil
        }
        waiter?.resume(returning: result)
    }

    /// The first result, when there is one. Only one task waits.
    public func value() async -> Errno? {
        await withUnsafeContinuation { continuation in
            let finished = state.withLock { state -> Errno?? in
                if case .finished(let result) = state { return .some(result) }
                state = .waiting(continuation)
                return .none
            }
            if let finished { continuation.resume(returning: finished) }
        }
    }
}
