import BlockGraph
import IOLoop

/// The options of `qcow2`. The names are those of QMP's `BlockdevOptionsQcow2`; nil stands for an option not given.
public struct Qcow2Configuration: Hashable, Sendable {
    /// Whether refcounts may be written later than what refers to their clusters; nil: as the image says.
    public var lazyRefcounts: Bool?
    /// Whether discards of the guest go to the file.
    public var passDiscardRequest: Bool?
    /// Whether the file is told of clusters that an operation on snapshots makes free.
    public var passDiscardSnapshot: Bool?
    /// Whether the file is told of clusters that become free in other ways.
    public var passDiscardOther: Bool?
    /// Whether discarded clusters stay allocated.
    public var discardNoUnref: Bool?
    /// Which structures are guarded against writes.
    public var overlapCheck: Qcow2OverlapChecks?
    /// The most bytes of cached L2 tables.
    public var l2CacheSize: Int64?
    /// The most bytes of cached refcount blocks.
    public var refcountCacheSize: Int64?
    /// The most bytes of both.
    public var cacheSize: Int64?
    /// The bytes of one part of the L2 tables in the cache.
    public var l2CacheEntrySize: Int64?
    /// After how many seconds of not being used cached tables are dropped; 0 for never.
    public var cacheCleanInterval: Int64?

    /// The defaults.
    public init() {}

    /// The seconds after which unused tables are dropped, where nothing else is said.
    public static let defaultCacheCleanInterval: Int64 = 600

    /// The options that no image can have. Errors: an interval of more than 32 bits.
    func check(version: Int) throws(BlockError) {
        if let interval = cacheCleanInterval, interval < 0 || interval > Int64(UInt32.max) {
            throw BlockError("Cache clean interval too big", errno: .EINVAL)
        }
        if lazyRefcounts == true, version < 3 {
            throw BlockError(
                "Lazy refcounts require a qcow2 image with at least qemu 1.1 compatibility level", errno: .EINVAL)
        }
        if discardNoUnref == true, version < 3 {
            throw BlockError("discard-no-unref is only supported since qcow2 version 3", errno: .EINVAL)
        }
    }
}
