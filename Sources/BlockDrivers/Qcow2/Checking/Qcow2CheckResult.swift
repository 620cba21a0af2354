/// What a consistency check may change.
public enum Qcow2Repair: Sendable, Hashable {
    /// Nothing.
    case none
    /// Refcounts that are too high, which only lose space.
    case leaks
    /// All errors.
    case all
}

/// What a consistency check of an image found. The counters are those of `qemu-img check`.
public struct Qcow2CheckResult: Sendable, Hashable {
    /// Errors that remain and may lose data.
    public var corruptions = 0
    /// Clusters that remain lost: their refcount is too high.
    public var leaks = 0
    /// Errors that were repaired.
    public var corruptionsFixed = 0
    /// Lost clusters that were regained.
    public var leaksFixed = 0
    /// Things that could not be checked, since reading or writing failed.
    public var checkErrors = 0
    /// Offset behind the last cluster in use, in bytes.
    public var imageEndOffset: Int64 = 0
    /// Guest clusters of the disk.
    public var totalClusters: Int64 = 0
    /// Guest clusters that the active L1 table maps.
    public var allocatedClusters: Int64 = 0
    /// Guest clusters that do not follow the cluster before in the file.
    public var fragmentedClusters: Int64 = 0
    /// Guest clusters that are compressed.
    public var compressedClusters: Int64 = 0

    /// A result without findings.
    public init() {}

    /// Whether nothing is wrong any more.
    public var isClean: Bool { corruptions == 0 && leaks == 0 && checkErrors == 0 }
}
