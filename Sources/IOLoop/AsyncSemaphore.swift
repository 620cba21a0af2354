import Synchronization

/// A count of permits that tasks of all loops take in the order in which they asked, waiting while there are none.
///
/// Waiting cannot be cancelled.
public final class AsyncSemaphore: Sendable {
    private struct State: ~Copyable {
        var permits: Int
        var waiters = FIFO<UnsafeContinuation<Void, Never>>()
    }

    private let state: Mutex<State>

    /// A semaphore with `permits` permits, at least 0.
    public init(_ permits: Int) {
        precondition(permits >= 0, "a semaphore cannot start with a debt")
        state = Mutex(State(permits: permits))
    }

    /// Takes a permit, at once when there is one.
    public func wait() async {
        if tryWait() { return }
        await withUnsafeContinuation { continuation in
            let isMine = state.withLock { state in
                if state.permits > 0 {
                    state.permits -= 1
                    return true
                }
                state.waiters.append(continuation)
                return false
            }
            if isMine { continuation.resume() }
        }
    }

    /// Takes a permit if there is one; whether it did.
    public func tryWait() -> Bool {
        state.withLock { state in
            if state.permits == 0 { return false }
            state.permits -= 1
            return true
        }
    }

    /// Adds a permit, which the task that waits longest gets.
    public func signal() {
        let next = state.withLock { state in
            let next = state.waiters.popFirst()
            if next == nil { state.permits += 1 }
            return next
        }
        next?.resume()
    }

    /// Calls `body` while the caller has a permit.
    public func withPermit<Result, Failure: Error>(
        _ body: () async throws(Failure) -> Result
    ) async throws(Failure) -> Result {
        await wait()
        defer { signal() }
        return try await body()
    }
}
