import BlockGraph
import Qcow2Format

/// What an image keeps of its tables in memory, behind the image's mutex.
struct Qcow2Tables: ~Copyable {
    /// The header as on disk.
    var header: Qcow2Header
    /// The options that hold.
    var configuration: Qcow2Configuration
    /// Where the active L1 table lies.
    var l1Offset: Int64
    /// The entries of the active L1 table.
    var l1: [UInt64]
    var dirtyL1 = DirtySectors()
    /// Where the refcount table lies.
    var refcountTableOffset: Int64
    /// The entries of the refcount table.
    var refcountTable: [UInt64]
    var dirtyRefcountTable = DirtySectors()
    /// Parts of L2 tables, numbered by guest offset.
    var l2: TableCache
    /// Refcount blocks, numbered by their index in the refcount table.
    var refcounts: TableCache
    /// Where free clusters may be.
    var space: FreeSpaceHints
    /// Where the next compressed data goes, within a cluster that has some; 0 for nowhere.
    var byteCursor: Int64 = 0
    /// The clusters that hold L2 tables and refcount blocks; made when it is first needed.
    var metadata: MetadataClusters?
    /// The snapshot table and the L1 tables of snapshots.
    var snapshotTable: ByteRange?
    var inactiveL1: [ByteRange] = []
    /// The flushes that wait for the next commit.
    var nextCommit: CommitTicket?
    /// Whether a corruption has been reported.
    var hasReportedCorruption = false

    let layout: Qcow2Layout

    /// The host bytes of the active L1 table, and of the refcount table.
    var l1Range: ByteRange { l1Offset..<l1Offset + 8 * Int64(l1.count) }
    var refcountTableRange: ByteRange {
        refcountTableOffset..<refcountTableOffset + 8 * Int64(refcountTable.count)
    }

    /// Whether refcounts may be written later than what refers to their clusters.
    var isLazy: Bool {
        configuration.lazyRefcounts ?? header.compatibleFeatures.contains(.lazyRefcounts)
    }

    /// Calls the body with one of the caches.
    mutating func withCache<R>(_ kind: Qcow2CacheKind, _ body: (inout TableCache) -> R) -> R {
        switch kind {
        case .l2: body(&l2)
        case .refcounts: body(&refcounts)
        }
    }
}

/// The two caches.
enum Qcow2CacheKind: Sendable {
    case l2, refcounts
}

/// Numbers that follow from the header and the options, and do not change while the image is open.
struct Qcow2Layout: Sendable {
    let geometry: Qcow2Geometry
    let clusterBits: Int
    let clusterSize: Int64
    let entrySize: Int
    /// The entries of a cached part of an L2 table.
    let entriesInPart: Int
    /// Guest offset to part number.
    let partShift: Int
    /// The parts of an L2 table.
    let partsInTable: Int
    /// The refcounts of a block.
    let refcountsInBlock: Int
    let refcountWidth: RefcountWidth
    /// Compressed data must end here: their entries have fewer bits for an offset.
    let compressedLimit: Int64

    init(_ geometry: Qcow2Geometry, l2PartSize: Int) {
        self.geometry = geometry
        clusterBits = geometry.clusterBits
        clusterSize = geometry.clusterSize
        entrySize = geometry.l2EntrySize
        entriesInPart = l2PartSize / geometry.l2EntrySize
        partShift = geometry.clusterBits + entriesInPart.trailingZeroBitCount
        partsInTable = Int(geometry.clusterSize) / l2PartSize
        refcountsInBlock = geometry.refcountBlockEntryCount
        refcountWidth = RefcountWidth(order: geometry.refcountOrder)
        compressedLimit = 1 << Int64(min(56, 70 - geometry.clusterBits))
    }

    /// The number of the cluster of a host offset.
    func cluster(_ offset: Int64) -> Int64 { offset >> Int64(clusterBits) }
    /// The host offset of a cluster.
    func offset(_ cluster: Int64) -> Int64 { cluster << Int64(clusterBits) }
    /// The place of a cluster's refcount: the index of its block, and its index there.
    func place(ofCluster cluster: Int64) -> (block: Int, index: Int) {
        (Int(cluster) / refcountsInBlock, Int(cluster) % refcountsInBlock)
    }
    /// How many clusters hold `count` bytes.
    func clusters(forBytes count: Int64) -> Int64 { (count + clusterSize - 1) >> Int64(clusterBits) }
    /// The offset in an entry of the L1 table.
    static func l1Offset(_ entry: UInt64) -> Int64 { Int64(entry & 0x00FF_FFFF_FFFF_FE00) }
    /// The flag of an L1 or L2 entry that says that its cluster has exactly one reference.
    static let copied: UInt64 = 1 << 63
    /// The offset in an entry of the refcount table; negative where it makes no sense.
    static func blockOffset(_ entry: UInt64) -> Int64 { Int64(bitPattern: entry & ~0x1FF) }
    /// No structure may lie beyond it: entries have 56 bits for an offset.
    static let hostLimit: Int64 = 1 << 56
}
