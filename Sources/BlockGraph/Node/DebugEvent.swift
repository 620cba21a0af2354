/// The name of a point that a request passes, which `blkdebug` can be told to act on: `pwritev`, `l2_load`, ...
///
/// Source: the values of `BlkdebugEvent` in the QMP schema.
public struct DebugEvent: RawRepresentable, Hashable, Sendable {
    /// The wire name.
    public let rawValue: String

    /// An event from its wire name.
    public init(rawValue: String) { self.rawValue = rawValue }

    /// A read that a format driver passes on to its file.
    public static let readAIO = DebugEvent(rawValue: "read_aio")
    /// A write that a format driver passes on to its file.
    public static let writeAIO = DebugEvent(rawValue: "write_aio")
    /// A write begins in a node.
    public static let pwritev = DebugEvent(rawValue: "pwritev")
    /// Zeroes are about to be written.
    public static let pwritevZero = DebugEvent(rawValue: "pwritev_zero")
    /// A write, or a write of zeroes, has been done.
    public static let pwritevDone = DebugEvent(rawValue: "pwritev_done")
    /// The block before an unaligned write is about to be read.
    public static let pwritevRMWHead = DebugEvent(rawValue: "pwritev_rmw_head")
    /// The block before an unaligned write has been read.
    public static let pwritevRMWAfterHead = DebugEvent(rawValue: "pwritev_rmw_after_head")
    /// The block behind an unaligned write is about to be read.
    public static let pwritevRMWTail = DebugEvent(rawValue: "pwritev_rmw_tail")
    /// The block behind an unaligned write has been read.
    public static let pwritevRMWAfterTail = DebugEvent(rawValue: "pwritev_rmw_after_tail")
    /// A flush goes to the operating system.
    public static let flushToOS = DebugEvent(rawValue: "flush_to_os")
    /// A flush goes to the disk.
    public static let flushToDisk = DebugEvent(rawValue: "flush_to_disk")
    /// Entries of the active L1 table are about to be written.
    public static let l1Update = DebugEvent(rawValue: "l1_update")
    /// Clusters are about to be allocated for a longer L1 table.
    public static let l1GrowAllocTable = DebugEvent(rawValue: "l1_grow_alloc_table")
    /// A longer L1 table is about to be written.
    public static let l1GrowWriteTable = DebugEvent(rawValue: "l1_grow_write_table")
    /// The header is about to refer to a longer L1 table.
    public static let l1GrowActivateTable = DebugEvent(rawValue: "l1_grow_activate_table")
    /// A part of an L2 table is about to be read.
    public static let l2Load = DebugEvent(rawValue: "l2_load")
    /// Entries of L2 tables are about to be written.
    public static let l2Update = DebugEvent(rawValue: "l2_update")
    /// A shared L2 table is about to be read, to be copied.
    public static let l2AllocCOWRead = DebugEvent(rawValue: "l2_alloc_cow_read")
    /// A new L2 table is about to be written.
    public static let l2AllocWrite = DebugEvent(rawValue: "l2_alloc_write")
    /// The refcount table is about to be read.
    public static let reftableLoad = DebugEvent(rawValue: "reftable_load")
    /// The refcount table is about to become longer.
    public static let reftableGrow = DebugEvent(rawValue: "reftable_grow")
    /// The refcount table is about to be written.
    public static let reftableUpdate = DebugEvent(rawValue: "reftable_update")
    /// A refcount block is about to be read.
    public static let refblockLoad = DebugEvent(rawValue: "refblock_load")
    /// A refcount block is about to be written.
    public static let refblockUpdate = DebugEvent(rawValue: "refblock_update")
    /// A part of a refcount block is about to be written.
    public static let refblockUpdatePart = DebugEvent(rawValue: "refblock_update_part")
    /// A refcount block is about to be allocated.
    public static let refblockAlloc = DebugEvent(rawValue: "refblock_alloc")
    /// The refcount table is about to refer to a new refcount block.
    public static let refblockAllocHookup = DebugEvent(rawValue: "refblock_alloc_hookup")
    /// A new refcount block is about to be written.
    public static let refblockAllocWrite = DebugEvent(rawValue: "refblock_alloc_write")
    /// The refcount blocks for a longer refcount table are about to be written.
    public static let refblockAllocWriteBlocks = DebugEvent(rawValue: "refblock_alloc_write_blocks")
    /// A longer refcount table is about to be written.
    public static let refblockAllocWriteTable = DebugEvent(rawValue: "refblock_alloc_write_table")
    /// The header is about to refer to a longer refcount table.
    public static let refblockAllocSwitchTable = DebugEvent(rawValue: "refblock_alloc_switch_table")
    /// Clusters are about to be allocated.
    public static let clusterAlloc = DebugEvent(rawValue: "cluster_alloc")
    /// Room for compressed data is about to be allocated.
    public static let clusterAllocBytes = DebugEvent(rawValue: "cluster_alloc_bytes")
    /// Clusters are about to become free.
    public static let clusterFree = DebugEvent(rawValue: "cluster_free")
    /// A read that goes to the backing file.
    public static let readBackingAIO = DebugEvent(rawValue: "read_backing_aio")
    /// A compressed cluster is about to be read.
    public static let readCompressed = DebugEvent(rawValue: "read_compressed")
    /// A compressed cluster is about to be written.
    public static let writeCompressed = DebugEvent(rawValue: "write_compressed")
    /// What surrounds a write to a new cluster is about to be read.
    public static let cowRead = DebugEvent(rawValue: "cow_read")
    /// What surrounds a write to a new cluster is about to be written.
    public static let cowWrite = DebugEvent(rawValue: "cow_write")
    /// New clusters are about to be made zero around a write.
    public static let clusterAllocSpace = DebugEvent(rawValue: "cluster_alloc_space")
}

/// A driver that acts on debug events.
public protocol DebugEventSink: AnyObject, Sendable {
    /// Called at each event on the node; may suspend the request that caused it.
    func debugEvent(_ event: DebugEvent) async
    /// Suspends the next request that causes the event, under a tag; the tag must be free.
    func setBreakpoint(_ event: DebugEvent, tag: String) -> Bool
    /// Resumes the requests suspended under the tag; false where there is none.
    func resume(tag: String) -> Bool
    /// Removes the breakpoints with the tag and resumes their requests; false where there is none.
    func removeBreakpoint(tag: String) -> Bool
    /// Removes all breakpoints, and resumes all requests and whoever waits for one.
    func removeAllBreakpoints()
    /// Whether a request is suspended under the tag.
    func isSuspended(tag: String) -> Bool
    /// Returns when a request is suspended under the tag.
    func waitUntilSuspended(tag: String) async
}
