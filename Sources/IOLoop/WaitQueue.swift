import Synchronization

/// Tasks that wait until something that others change is as they need it: a condition variable for tasks.
///
/// Whoever changes what the conditions look at does so first and notifies then. Conditions run with the queue locked,
/// so that no notification is lost: they are short, they may lock the mutex of what they look at, and so nobody
/// notifies while holding that mutex.
public final class WaitQueue: Sendable {
    private struct Waiter {
        let id: UInt64
        let continuation: UnsafeContinuation<Bool, Never>
    }

    private struct State: ~Copyable {
        var waiters = FIFO<Waiter>()
        var nextID: UInt64 = 0
    }

    private let state = Mutex(State())

    /// A queue without waiters.
    public init() {}

    /// The number of tasks that wait.
    public var waiterCount: Int { state.withLock { $0.waiters.count } }

    /// Returns at once when `condition` holds, else at the next notification, when it may or may not hold.
    public func wait(unless condition: () -> Bool) async {
        _ = await withUnsafeContinuation { continuation in
            enter(continuation, isCancellable: false, id: 0, unless: condition)
        }
    }

    /// Returns when `condition` holds; looks again after each notification.
    public func wait(until condition: () -> Bool) async {
        var holds = false
        while !holds {
            await wait(unless: {
                holds = condition()
                return holds
            })
        }
    }

    /// As `wait(unless:)`, and throws `ECANCELED` when the task is or gets cancelled while it waits.
    public func waitCancellable(
        isolation: isolated (any Actor)? = #isolation, unless condition: () -> Bool
    ) async throws(Errno) {
        let id = state.withLock { state in
            state.nextID += 1
            return state.nextID
        }
        let notified = await withTaskCancellationHandler {
            // Captured so that the closure, and `condition` with it, stays on the caller's actor.
            _ = isolation
            return await withUnsafeContinuation { continuation in
                enter(continuation, isCancellable: true, id: id, unless: condition)
            }
        } onCancel: {
            let waiter = state.withLock { state in state.waiters.removeFirst { $0.id == id } }
            waiter?.continuation.resume(returning: false)
        }
        if !notified { throw .ECANCELED }
    }

    /// As `wait(until:)`, and throws `ECANCELED` when the task is or gets cancelled while it waits.
    public func waitCancellable(
        isolation: isolated (any Actor)? = #isolation, until condition: () -> Bool
    ) async throws(Errno) {
        var holds = false
        while !holds {
            try await waitCancellable(unless: {
                holds = condition()
                return holds
            })
        }
    }

    /// Wakes the task that waits longest, if any; whether there was one.
    @discardableResult
    public func notifyOne() -> Bool {
        guard let waiter = state.withLock({ $0.waiters.popFirst() }) else { return false }
        waiter.continuation.resume(returning: true)
        return true
    }

    /// Wakes all tasks that wait now, in the order in which they came.
    public func notifyAll() {
        state.withLock { state in
            while let waiter = state.waiters.popFirst() { waiter.continuation.resume(returning: true) }
        }
    }

    /// Queues a task, unless there is nothing to wait for. A cancellation after the look at `isCancelled` finds the
    /// task queued, since its handler needs the lock too.
    private func enter(
        _ continuation: UnsafeContinuation<Bool, Never>, isCancellable: Bool, id: UInt64, unless condition: () -> Bool
    ) {
        let result: Bool? = state.withLock { state in
            if condition() { return true }
            if isCancellable && Task.isCancelled { return false }
            state.waiters.append(Waiter(id: id, continuation: continuation))
            return nil
        }
        if let result { continuation.resume(returning: result) }
    }
}
