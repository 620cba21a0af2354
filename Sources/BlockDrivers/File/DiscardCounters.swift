import Synchronization

/// Counts discards. Lock-free; the three numbers need not belong to the same instant.
final class DiscardCounters: Sendable {
    private let succeeded = Atomic<UInt64>(0)
    private let failed = Atomic<UInt64>(0)
    private let bytes = Atomic<UInt64>(0)

    /// Notes a discard of `count` bytes.
    func note(_ count: Int64, succeeded hasSucceeded: Bool) {
        guard hasSucceeded else {
            failed.wrappingAdd(1, ordering: .relaxed)
            return
        }
        succeeded.wrappingAdd(1, ordering: .relaxed)
        bytes.wrappingAdd(UInt64(count), ordering: .relaxed)
    }

    /// The numbers so far.
    var values: (succeeded: UInt64, failed: UInt64, bytes: UInt64) {
        (succeeded.load(ordering: .relaxed), failed.load(ordering: .relaxed), bytes.load(ordering: .relaxed))
    }
}
