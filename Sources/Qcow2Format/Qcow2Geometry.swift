/// Sizes and conversions that follow from an image's header, and never change while it is open.
///
/// All conversions expect offsets of at least 0 and never trap for them.
public struct Qcow2Geometry: Sendable, Hashable {
    /// Exponent of the cluster size.
    public let clusterBits: Int
    /// Exponent of the width of a refcount in bits.
    public let refcountOrder: Int
    /// Whether L2 entries are extended, so that clusters have 32 subclusters.
    public let hasSubclusters: Bool
    /// Whether guest clusters lie in an external data file.
    public let hasDataFile: Bool

    /// The geometry of an image with this header.
    public init(_ header: Qcow2Header) {
        self.init(
            clusterBits: header.clusterBits, refcountOrder: header.refcountOrder, hasSubclusters: header.hasExtendedL2,
            hasDataFile: header.hasDataFile)
    }

    /// Makes a geometry. `clusterBits` must be 9 to 21, `refcountOrder` 0 to 6.
    public init(
        clusterBits: Int, refcountOrder: Int = Qcow2.defaultRefcountOrder, hasSubclusters: Bool = false,
        hasDataFile: Bool = false
    ) {
        precondition((Qcow2.minimumClusterBits...Qcow2.maximumClusterBits).contains(clusterBits))
        precondition((0...Qcow2.maximumRefcountOrder).contains(refcountOrder))
        self.clusterBits = clusterBits
        self.refcountOrder = refcountOrder
        self.hasSubclusters = hasSubclusters
        self.hasDataFile = hasDataFile
    }

    // MARK: Sizes

    /// The cluster size in bytes.
    @inlinable public var clusterSize: Int64 { 1 << Int64(clusterBits) }
    /// The part of an offset inside its cluster, as a mask.
    @inlinable public var clusterMask: Int64 { clusterSize - 1 }
    /// Subclusters of a cluster: 32 with extended L2 entries, else 1.
    @inlinable public var subclustersPerCluster: Int { hasSubclusters ? 32 : 1 }
    /// Exponent of the subcluster size.
    @inlinable public var subclusterBits: Int { hasSubclusters ? clusterBits - 5 : clusterBits }
    /// The subcluster size in bytes; the cluster size without extended L2 entries.
    @inlinable public var subclusterSize: Int64 { 1 << Int64(subclusterBits) }
    /// Bytes of an L2 entry: 8, or 16 when extended.
    @inlinable public var l2EntrySize: Int { hasSubclusters ? 16 : 8 }
    /// Exponent of the number of entries of an L2 table.
    @inlinable public var l2EntryCountBits: Int { clusterBits - (hasSubclusters ? 4 : 3) }
    /// Entries of an L2 table, which is one cluster.
    @inlinable public var l2EntryCount: Int { 1 << l2EntryCountBits }
    /// Guest bytes that one L2 table describes.
    @inlinable public var l2Coverage: Int64 { 1 << Int64(clusterBits + l2EntryCountBits) }
    /// The width of a refcount in bits.
    @inlinable public var refcountBits: Int { 1 << refcountOrder }
    /// The greatest refcount.
    @inlinable public var maximumRefcount: UInt64 { UInt64.max >> UInt64(64 - refcountBits) }
    /// Exponent of the number of refcounts of a refcount block.
    @inlinable public var refcountBlockEntryCountBits: Int { clusterBits + 3 - refcountOrder }
    /// Refcounts of a refcount block, which is one cluster.
    @inlinable public var refcountBlockEntryCount: Int { 1 << refcountBlockEntryCountBits }
    /// Host bytes that one refcount block describes.
    @inlinable public var refcountBlockCoverage: Int64 { 1 << Int64(clusterBits + refcountBlockEntryCountBits) }

    // MARK: Guest offsets

    /// The L1 index of a guest offset.
    @inlinable public func l1Index(of guestOffset: Int64) -> Int {
        Int(guestOffset >> Int64(clusterBits + l2EntryCountBits))
    }
    /// The index of a guest offset's entry in its L2 table.
    @inlinable public func l2Index(of guestOffset: Int64) -> Int {
        Int(guestOffset >> Int64(clusterBits)) & (l2EntryCount - 1)
    }
    /// The index of a guest offset's subcluster in its cluster; 0 without extended L2 entries.
    @inlinable public func subclusterIndex(of guestOffset: Int64) -> Int {
        Int(guestOffset >> Int64(subclusterBits)) & (subclustersPerCluster - 1)
    }
    /// The bytes before an offset in its cluster.
    @inlinable public func offsetInCluster(_ offset: Int64) -> Int64 { offset & clusterMask }
    /// The bytes before an offset in its subcluster.
    @inlinable public func offsetInSubcluster(_ offset: Int64) -> Int64 { offset & (subclusterSize - 1) }
    /// The start of an offset's cluster.
    @inlinable public func clusterStart(_ offset: Int64) -> Int64 { offset & ~clusterMask }
    /// The start of the first cluster at or behind an offset; `Int64.max` rounded down if there is none.
    @inlinable public func clusterEnd(_ offset: Int64) -> Int64 {
        let (sum, overflow) = offset.addingReportingOverflow(clusterMask)
        return clusterStart(overflow ? Int64.max : sum)
    }
    /// The clusters that `byteCount` bytes from a cluster's start fill, the last one perhaps partly.
    @inlinable public func clusterCount(_ byteCount: Int64) -> Int64 {
        (byteCount >> Int64(clusterBits)) + (byteCount & clusterMask == 0 ? 0 : 1)
    }
    /// The guest offset that an L1 and an L2 index describe.
    @inlinable public func guestOffset(l1Index: Int, l2Index: Int) -> Int64 {
        Int64(l1Index) << Int64(clusterBits + l2EntryCountBits) | Int64(l2Index) << Int64(clusterBits)
    }
    /// The L1 entries that a disk of `virtualSize` bytes needs.
    @inlinable public func l1EntryCount(forVirtualSize virtualSize: Int64) -> Int {
        let shift = Int64(clusterBits + l2EntryCountBits)
        return Int(virtualSize >> shift) + (virtualSize & ((1 << shift) - 1) == 0 ? 0 : 1)
    }

    // MARK: Host offsets

    /// The index of a host offset's refcount block in the refcount table.
    @inlinable public func refcountTableIndex(of hostOffset: Int64) -> Int {
        Int(hostOffset >> Int64(clusterBits + refcountBlockEntryCountBits))
    }
    /// The index of a host offset's refcount in its refcount block.
    @inlinable public func refcountBlockIndex(of hostOffset: Int64) -> Int {
        Int(hostOffset >> Int64(clusterBits)) & (refcountBlockEntryCount - 1)
    }
}
