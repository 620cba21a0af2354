import CLiburing
import Glibc

// Operations of the ring as suspensions of a task. The caller is on the loop's thread.
extension IOLoop {
    typealias Entry = UnsafeMutablePointer<io_uring_sqe>

    /// Runs one operation that is never cancelled, and returns its result: 0 or more, or a negative errno.
    ///
    /// Memory that the entry points to stays valid until this returns.
    @inline(__always)
    func perform(_ prepare: (Entry) -> Void) async -> Int32 {
        assert(isCurrent, "an operation on another loop's ring")
        return await withUnsafeContinuation { continuation in
            assert(isCurrent, "an operation on another loop's ring")
            let entry = nextEntry()
            prepare(entry)
            entry.pointee.user_data = UserData.value(of: continuation)
            storageOperations += 1
        }
    }

    /// Runs one operation that waits for a peer and is never cancelled: whoever wants it to end shuts the connection down.
    @inline(__always)
    func performWithPeer(_ prepare: (Entry) -> Void) async -> Int32 {
        assert(isCurrent, "an operation on another loop's ring")
        return await withUnsafeContinuation { continuation in
            assert(isCurrent, "an operation on another loop's ring")
            let entry = nextEntry()
            prepare(entry)
            entry.pointee.user_data = UserData.value(of: continuation) | UserData.peerTag
        }
    }

    /// Lets all tasks go first that are ready on the loop, and those that become ready as they run. On the loop's thread.
    @inline(__always)
    public func yield() async {
        await withUnsafeContinuation { continuation in yielding.append(continuation) }
    }

    /// The same from any thread: off the loops, on the ring of the main loop.
    ///
    /// Code of the control plane comes back from waiting on a thread of the global executor where its task has no preference
    /// for a loop (a plain `Task`).
    @inline(__always)
    static func perform(_ prepare: (Entry) -> Void) async -> Int32 {
        if let loop = current { return await loop.perform(prepare) }
        var entry = io_uring_sqe()
        prepare(&entry)
        return await main.performFromOutside(entry)
    }

    /// Runs one operation whose entry was prepared on another thread.
    private func performFromOutside(_ prepared: io_uring_sqe) async -> Int32 {
        precondition(hasStarted, "I/O outside of an IOLoop thread, and the loop \(name) does not run")
        return await withUnsafeContinuation { continuation in
            var entry = prepared
            entry.user_data = UserData.value(of: continuation)
            let whole = entry
            Task(executorPreference: self) { [self] in
                nextEntry().pointee = whole
                storageOperations += 1
            }
        }
    }

    /// Runs one operation that ends with `-ECANCELED` when the task is cancelled before it completes.
    ///
    /// The handler's closure captures `isolation`, since one that does not would leave the caller's actor for the
    /// global executor.
    @inline(__always)
    func performCancellable(
        isolation: isolated (any Actor)? = #isolation,
        _ prepare: (Entry, UnsafeMutablePointer<OperationSlots.Slot>) -> Void
    ) async -> Int32 {
        assert(isCurrent, "an operation on another loop's ring")
        let token = slots.take()
        return await withTaskCancellationHandler {
            _ = isolation
            return await withUnsafeContinuation { continuation in
                start(token, continuation, prepare)
            }
        } onCancel: {
            requestCancellation(token)
        }
    }

    @inline(__always)
    private func start(
        _ token: UInt64, _ continuation: UnsafeContinuation<Int32, Never>,
        _ prepare: (Entry, UnsafeMutablePointer<OperationSlots.Slot>) -> Void
    ) {
        assert(isCurrent, "an operation on another loop's ring")
        guard let slot = slots.find(token) else { preconditionFailure("an operation's slot was given back early") }
        if Task.isCancelled {
            // The handler may have run before there was anything to cancel.
            slots.give(token)
            continuation.resume(returning: -ECANCELED)
            return
        }
        let entry = nextEntry()
        prepare(entry, slot)
        entry.pointee.user_data = token
        slot.pointee.continuation = continuation
    }

    /// Asks for a cancellation, from any thread; late requests find the slot's next generation and do nothing.
    private func requestCancellation(_ token: UInt64) {
        if isCurrent {
            cancelOperation(token)
        } else {
            inbox.add(cancellation: token)
        }
    }

    /// Cancels an operation in flight. On the loop's thread.
    func cancelOperation(_ token: UInt64) {
        guard let slot = slots.find(token), slot.pointee.continuation != nil, !slot.pointee.cancelled else { return }
        slot.pointee.cancelled = true
        cairn_prep_cancel(nextEntry(), token, UserData.ignoredValue)
    }
}
