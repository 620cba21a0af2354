import Synchronization

/// A lock that is held across suspensions, and that tasks of all loops get in the order in which they asked.
///
/// Waiting cannot be cancelled: the holder is expected to end. Not reentrant: a task that asks twice waits for itself.
public final class AsyncMutex: Sendable {
    private struct State: ~Copyable {
        var isLocked = false
        var waiters = FIFO<UnsafeContinuation<Void, Never>>()
    }

    private let state = Mutex(State())

    /// A lock that nobody holds.
    public init() {}

    /// Returns when the caller holds the lock, at once when it is free. `unlock()` ends that, on any thread.
    public func lock() async {
        if tryLock() { return }
        await withUnsafeContinuation { continuation in
            let isMine = state.withLock { state in
                if !state.isLocked {
                    state.isLocked = true
                    return true
                }
                state.waiters.append(continuation)
                return false
            }
            if isMine { continuation.resume() }
        }
    }

    /// Takes the lock if it is free; whether it did.
    public func tryLock() -> Bool {
        state.withLock { state in
            if state.isLocked { return false }
            state.isLocked = true
            return true
        }
    }

    /// Gives the lock to the task that waits longest, or frees it. Only for its holder.
    public func unlock() {
        let next = state.withLock { state in
            precondition(state.isLocked, "unlocking an AsyncMutex that nobody holds")
            let next = state.waiters.popFirst()
            if next == nil { state.isLocked = false }
            return next
        }
        next?.resume()
    }

    /// Whether some task holds the lock.
    public var isLocked: Bool { state.withLock { $0.isLocked } }

    /// Calls `body` while the caller holds the lock.
    public func withLock<Result, Failure: Error>(
        _ body: () async throws(Failure) -> Result
    ) async throws(Failure) -> Result {
        await lock()
        defer { unlock() }
        return try await body()
    }
}
