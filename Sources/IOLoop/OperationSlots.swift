import CLiburing
import Glibc

/// The operations of a loop that can be cancelled, each with a generation, so that a cancellation that comes late
/// cannot hit the operation that uses the slot next. Slots are reused and never move. On the loop's thread only.
final class OperationSlots {
    struct Slot {
        var generation: UInt32
        var continuation: UnsafeContinuation<Int32, Never>?
        var cancelled = false
        /// Memory for an operation that takes a time.
        var time = __kernel_timespec()
    }

    private static let chunkSize = 64
    @exclusivity(unchecked) private var chunks: [UnsafeMutablePointer<Slot>] = []
    @exclusivity(unchecked) private var free = FIFO<UInt32>(minimumCapacity: 64)

    deinit {
        for chunk in chunks { chunk.deallocate() }
    }

    /// Takes a slot; the value identifies this use of it and is the operation's user data.
    func take() -> UInt64 {
        if free.isEmpty { addChunk() }
        guard let index = free.popFirst() else { preconditionFailure("no free slot in a new chunk") }
        return OperationSlots.token(index, slot(index).pointee.generation)
    }

    /// The slot of `token`, or nil when that use of it is over.
    func find(_ token: UInt64) -> UnsafeMutablePointer<Slot>? {
        let found = slot(UInt32(truncatingIfNeeded: token) >> 2)
        return found.pointee.generation == UInt32(truncatingIfNeeded: token >> 32) ? found : nil
    }

    /// Ends the use of a slot, whose token is stale from now on.
    func give(_ token: UInt64) {
        guard let slot = find(token) else { preconditionFailure("an operation's slot was given back twice") }
        slot.pointee.generation &+= 1
        slot.pointee.continuation = nil
        slot.pointee.cancelled = false
        free.append(UInt32(truncatingIfNeeded: token) >> 2)
    }

    /// Ends the use of a slot with the result of its operation, and makes its task ready.
    func complete(_ token: UInt64, _ result: Int32) {
        guard let slot = find(token), let continuation = slot.pointee.continuation else {
            preconditionFailure("a completion for an operation that is not in flight")
        }
        // A worker of the kernel says that it was interrupted when it was cancelled.
        let interrupted = slot.pointee.cancelled && result == -EINTR
        give(token)
        continuation.resume(returning: interrupted ? -ECANCELED : result)
    }

    private static func token(_ index: UInt32, _ generation: UInt32) -> UInt64 {
        UInt64(generation) << 32 | UInt64(index) << 2 | UserData.slotTag
    }

    private func slot(_ index: UInt32) -> UnsafeMutablePointer<Slot> {
        chunks[Int(index) / OperationSlots.chunkSize] + Int(index) % OperationSlots.chunkSize
    }

    private func addChunk() {
        let chunk = UnsafeMutablePointer<Slot>.allocate(capacity: OperationSlots.chunkSize)
        chunk.initialize(repeating: Slot(generation: 0), count: OperationSlots.chunkSize)
        let first = chunks.count * OperationSlots.chunkSize
        chunks.append(chunk)
        for index in 0..<OperationSlots.chunkSize { free.append(UInt32(first + index)) }
    }
}
