import BlockGraph
import IOLoop
import Qcow2Format

/// How many parts of tables an image keeps in memory.
struct Qcow2CacheSizes: Hashable, Sendable {
    /// The bytes of one part of the L2 tables.
    var l2PartSize: Int
    /// The most parts of L2 tables.
    var l2PartCount: Int
    /// The most refcount blocks.
    var refcountBlockCount: Int

    /// The most bytes of L2 tables where nothing is said.
    private static let defaultL2Size: Int64 = 32 << 20
    private static let fewestRefcountBlocks: Int64 = 4
    private static let fewestL2Parts: Int64 = 2

    /// What the options mean for an image. More L2 tables than the disk has are never kept.
    ///
    /// Errors: all three sizes are given; a part is larger than the whole; a size is beyond all bounds; the size of an entry
    /// is not a power of two between 512 and the cluster size.
    init(_ options: Qcow2Configuration, geometry: Qcow2Geometry, virtualSize: Int64) throws(BlockError) {
        let clusterSize = geometry.clusterSize
        let entryCount = Int64(clusterSize / Int64(geometry.l2EntrySize))
        // The clusters of the disk, the tables for them, and so the bytes of all tables; a disk has less than 2^63 bytes.
        let tables = (virtualSize / clusterSize + 1) / entryCount + 1
        let (product, overflow) = tables.multipliedReportingOverflow(by: clusterSize)
        let allTables = overflow ? Int64.max : product
        let fewestRefcounts = Self.fewestRefcountBlocks * clusterSize
        var l2Size = min(options.l2CacheSize ?? Self.defaultL2Size, allTables)
        var refcountSize = options.refcountCacheSize ?? fewestRefcounts

        if let whole = options.cacheSize {
            if options.l2CacheSize != nil, options.refcountCacheSize != nil {
                throw Self.error("cache-size, l2-cache-size and refcount-cache-size may not be set at the same time")
            } else if let given = options.l2CacheSize {
                guard given <= whole else { throw Self.error("l2-cache-size may not exceed cache-size") }
                refcountSize = whole - given
            } else if let given = options.refcountCacheSize {
                guard given <= whole else { throw Self.error("refcount-cache-size may not exceed cache-size") }
                l2Size = min(whole - given, allTables)
            } else if whole - fewestRefcounts >= allTables {
                l2Size = allTables
                refcountSize = whole - l2Size
            } else {
                refcountSize = min(whole, fewestRefcounts)
                l2Size = whole - refcountSize
            }
        }

        let partSize = options.l2CacheEntrySize ?? clusterSize
        guard partSize >= 512, partSize <= clusterSize, partSize & (partSize - 1) == 0 else {
            throw Self.error(
                "L2 cache entry size must be a power of two between 512 and the cluster size (\(clusterSize))")
        }
        let parts = max(Self.fewestL2Parts, l2Size / partSize)
        guard parts <= Int64(Int32.max) else { throw Self.error("L2 cache size too big") }
        let blocks = max(Self.fewestRefcountBlocks, refcountSize / clusterSize)
        guard blocks <= Int64(Int32.max) else { throw Self.error("Refcount cache size too big") }
        l2PartSize = Int(partSize)
        l2PartCount = Int(parts)
        refcountBlockCount = Int(blocks)
    }

    private static func error(_ text: String) -> BlockError { BlockError(text, errno: .EINVAL) }
}
