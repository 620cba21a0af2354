import BlockGraph
import IOLoop
import Qcow2Format

/// Where everything lies in a new image, in clusters from the start of the file:
/// header, refcount table, refcount blocks, L1 table, and with preallocation each L2 table before its data.
///
/// All clusters up to `clusterCount` are used, each once. The options have been checked.
struct Qcow2CreationLayout: Hashable, Sendable {
    let clusterBits: Int
    /// The bytes of an L2 entry.
    let l2EntrySize: Int64
    let refcountBits: Int64
    /// The length of the disk in bytes.
    let size: Int64
    let l1EntryCount: Int64
    /// The L2 tables: none without preallocation.
    let l2TableCount: Int64
    /// The guest's clusters in the file: none without preallocation, or with a data file.
    let dataClusterCount: Int64
    let refcountTableClusterCount: Int64
    let refcountBlockCount: Int64

    /// Errors: the size is negative, or beyond what tables can describe.
    init(_ options: Qcow2CreationOptions, hasDataFile: Bool) throws(BlockError) {
        clusterBits = options.clusterBits
        l2EntrySize = options.extendedL2 ? 16 : 8
        refcountBits = options.refcountBits
        size = options.size
        guard size >= 0 else {
            throw BlockError("Could not resize image: Image size cannot be negative", errno: .EINVAL)
        }
        guard size <= BlockNode.maximumLength else {
            throw BlockError(
                "Could not resize image: offset(\(size)) exceeds maximum(\(BlockNode.maximumLength))", errno: .EFBIG)
        }
        let clusterSize = Int64(1) << Int64(clusterBits)
        l1EntryCount = size.quotientRoundedUp(by: clusterSize * (clusterSize / l2EntrySize))
        guard l1EntryCount * 8 <= Qcow2.maximumL1TableSize else {
            throw BlockError("Could not resize image: Failed to grow the L1 table", causedBy: .EFBIG)
        }
        let isPreallocated = options.preallocatesMetadata
        l2TableCount = isPreallocated ? l1EntryCount : 0
        dataClusterCount = isPreallocated && !hasDataFile ? size.quotientRoundedUp(by: clusterSize) : 0
        let others = 1 + (l1EntryCount * 8).quotientRoundedUp(by: clusterSize) + l2TableCount + dataClusterCount
        (refcountTableClusterCount, refcountBlockCount) = Self.refcountClusters(
            for: others, clusterBits: clusterBits, refcountBits: refcountBits)
    }

    /// Errors: the refcount table would become larger than an image can have it.
    func checkRefcountTable() throws(BlockError) {
        guard refcountTableClusterCount << Int64(clusterBits) <= Qcow2.maximumRefcountTableSize else {
            throw BlockError("Could not resize image: Could not preallocate metadata", causedBy: .EFBIG)
        }
    }

    /// The clusters of the refcount table and of its blocks that describe `others` clusters and themselves.
    static func refcountClusters(
        for others: Int64, clusterBits: Int, refcountBits: Int64
    ) -> (table: Int64, blocks: Int64) {
        let clusterSize = Int64(1) << Int64(clusterBits)
        var (table, blocks) = (Int64(0), Int64(0))
        while true {
            let newBlocks = (others + table + blocks).quotientRoundedUp(by: clusterSize * 8 / refcountBits)
            let newTable = (newBlocks * 8).quotientRoundedUp(by: clusterSize)
            if newBlocks == blocks, newTable == table { return (table, blocks) }
            (table, blocks) = (newTable, newBlocks)
        }
    }

    var clusterSize: Int64 { 1 << Int64(clusterBits) }
    /// The entries of an L2 table.
    var l2EntryCount: Int64 { clusterSize / l2EntrySize }
    /// The clusters that a refcount block describes.
    var refcountsInBlock: Int64 { clusterSize * 8 / refcountBits }
    private var l1ClusterCount: Int64 { (l1EntryCount * 8).quotientRoundedUp(by: clusterSize) }

    var refcountTableOffset: Int64 { clusterSize }
    var refcountBlocksOffset: Int64 { refcountTableOffset + refcountTableClusterCount << Int64(clusterBits) }
    /// Where the L1 table would lie if it had an entry.
    private var l1Place: Int64 { refcountBlocksOffset + refcountBlockCount << Int64(clusterBits) }
    /// Where the L1 table lies; 0 for an empty one.
    var l1Offset: Int64 { l1EntryCount == 0 ? 0 : l1Place }
    /// Where the first L2 table lies, and its data behind it.
    private var mappedOffset: Int64 { l1Place + l1ClusterCount << Int64(clusterBits) }

    /// The clusters of the file that are used.
    var clusterCount: Int64 {
        1 + refcountTableClusterCount + refcountBlockCount + l1ClusterCount + l2TableCount + dataClusterCount
    }
    /// The length of the file in bytes. Without preallocation it ends with the last L1 entry.
    var fileLength: Int64 {
        l2TableCount == 0 ? l1Place + l1EntryCount * 8 : clusterCount << Int64(clusterBits)
    }

    /// Where an L2 table lies.
    func l2TableOffset(_ index: Int64) -> Int64 {
        let clustersBefore = index + (dataClusterCount == 0 ? 0 : index * l2EntryCount)
        return mappedOffset + clustersBefore << Int64(clusterBits)
    }

    /// Where a guest cluster lies, in the file or the data file.
    func dataOffset(_ cluster: Int64) -> Int64 {
        guard dataClusterCount > 0 else { return cluster << Int64(clusterBits) }
        return l2TableOffset(cluster / l2EntryCount) + (1 + cluster % l2EntryCount) << Int64(clusterBits)
    }

    /// The guest clusters that an L2 table maps.
    func mappedClusters(ofTable index: Int64) -> Range<Int64> {
        let first = index * l2EntryCount
        return first..<min(first + l2EntryCount, size.quotientRoundedUp(by: clusterSize))
    }
}

extension Int64 {
    /// The least number of groups of `size` that hold this many, which is 0 or more.
    func quotientRoundedUp(by size: Int64) -> Int64 { self / size + (self % size == 0 ? 0 : 1) }
}
