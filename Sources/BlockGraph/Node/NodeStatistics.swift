import Synchronization

/// What a node counts, and the write threshold that it watches. Lock-free; exact to within requests under way.
public final class NodeStatistics: Sendable {
    private let highest = Atomic<Int64>(0)
    private let threshold = Atomic<Int64>(0)
    private let changes = Atomic<UInt64>(0)
    private let flushed = Atomic<UInt64>(0)

    /// Nothing counted yet.
    public init() {}

    /// One more than the highest byte offset ever written.
    public var writeHighestOffset: Int64 { highest.load(ordering: .relaxed) }

    /// The offset beyond which a write raises an event, once; 0 where none is set. No write reaches a negative one,
    /// which stands for an unsigned number of 2^63 or more.
    public var writeThreshold: Int64 { threshold.load(ordering: .relaxed) }

    /// Sets the threshold; 0 for none.
    public func setWriteThreshold(_ offset: Int64) { threshold.store(offset, ordering: .relaxed) }

    /// Notes that bytes up to `end` have been written.
    func noteWrite(upTo end: Int64) {
        noteChange()
        if end > highest.load(ordering: .relaxed) { _ = highest.max(end, ordering: .relaxed) }
    }

    /// Takes the threshold away where a write up to `end` passes it: the threshold and by how many bytes it is passed.
    func passThreshold(upTo end: Int64) -> (threshold: Int64, amount: Int64)? {
        let current = threshold.load(ordering: .relaxed)
        guard current > 0, end > current else { return nil }
        guard threshold.compareExchange(expected: current, desired: 0, ordering: .relaxed).exchanged else { return nil }
        return (current, end - current)
    }

    /// The number of changes that have come back so far.
    var changeGeneration: UInt64 { changes.load(ordering: .acquiring) }

    /// Notes that a change came back, so that the next flush has something to do.
    func noteChange() { changes.wrappingAdd(1, ordering: .releasing) }

    /// Whether there are changes up to `generation` that no flush has covered.
    func hasChanged(sinceFlushOf generation: UInt64) -> Bool { flushed.load(ordering: .acquiring) < generation }

    /// Notes that all changes up to `generation` are durable.
    func noteFlush(of generation: UInt64) { _ = flushed.max(generation, ordering: .releasing) }
}
