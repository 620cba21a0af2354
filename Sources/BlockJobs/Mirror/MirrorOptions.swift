import BlockDrivers
import BlockGraph

/// How a mirror is made.
public struct MirrorOptions: Sendable {
    /// What is copied at first. What is written later is copied in any case.
    public enum Sync: Hashable, Sendable {
        /// The whole disk.
        case full
        /// What lies in the topmost layer of the source.
        case top
        /// What lies above the target, which is a backing image of the source: an active commit.
        case aboveTarget
        /// Nothing.
        case none
    }

    /// The target's backing image when the job completes.
    public enum Backing: Hashable, Sendable {
        /// As it is.
        case unchanged
        /// The source, for `sync` none; the source's own for `sync` top.
        case ofSource
    }

    /// What is copied at first.
    public var sync: Sync
    /// Whether guest writes go to both sides from the start.
    public var isWriteBlocking = false
    /// The bytes of a granule, a power of two; nil for what suits the target.
    public var granularity: Int64?
    /// The most bytes that are in memory at a time; a granule at least.
    public var bufferSize: Int64 = 16 << 20
    /// Whether zeroes may be made by deallocating in the target.
    public var unmaps = true
    /// Whether the target reads as zeroes, by the client's word.
    public var targetIsZero = false
    /// What is done when a read of the source fails.
    public var onSourceError = JobErrorPolicy.report
    /// What is done when a write to the target fails.
    public var onTargetError = JobErrorPolicy.report
    /// The name of the filter above the source; nil to make one up.
    public var filterName: String?
    /// The node in whose place the target is put; nil for the source.
    public var replaced: BlockNode?
    /// What becomes of the target's backing image.
    public var backing = Backing.unchanged

    /// The usual options.
    public init(sync: Sync) {
        self.sync = sync
    }
}
