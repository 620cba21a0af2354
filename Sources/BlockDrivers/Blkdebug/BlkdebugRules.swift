import BlockGraph

/// A kind of request in which `blkdebug` can inject errors. The wire names of QMP.
public enum BlkdebugIOType: String, CaseIterable, Hashable, Sendable {
    /// Reads.
    case read
    /// Writes.
    case write
    /// Writes of zeroes.
    case writeZeroes = "write-zeroes"
    /// Discards.
    case discard
    /// Flushes.
    case flush
    /// Queries of the block status.
    case blockStatus = "block-status"
}

/// A rule that makes requests fail. The names are those of QMP's `BlkdebugInjectErrorOptions`.
public struct BlkdebugInjectError: Hashable, Sendable {
    /// The event that arms the rule: requests fail from then on.
    public var event: DebugEvent
    /// The state in which the event arms the rule; nil or 0 for any.
    public var state: Int64?
    /// The requests that fail; nil for all but queries of the block status.
    public var ioType: BlkdebugIOType?
    /// The error's number; nil for EIO. 0 or less: the request is only delayed.
    public var errno: Int64?
    /// How long the request is held back before it fails, in nanoseconds; nil for not at all.
    public var delayNanoseconds: Int64?
    /// The sector of 512 bytes that a request must touch to fail; nil or -1 for any.
    public var sector: Int64?
    /// Whether the rule is gone after the first failure; nil as false.
    public var once: Bool?
    /// In QEMU, fails without going through the event loop. It makes no difference here.
    public var immediately: Bool?

    /// A rule that arms itself at an event; everything else has its default.
    public init(event: DebugEvent) { self.event = event }

    /// Whether the rule is for a request.
    func matches(_ type: BlkdebugIOType, _ range: ByteRange) -> Bool {
        guard ioType == type || (ioType == nil && type != .blockStatus) else { return false }
        guard let sector, sector != -1 else { return true }
        guard !range.isEmpty, sector >= 0 else { return false }
        return range.lowerBound / 512 <= sector && sector <= (range.upperBound - 1) / 512
    }
}

/// A rule that changes the state. The names are those of QMP's `BlkdebugSetStateOptions`.
public struct BlkdebugSetState: Hashable, Sendable {
    /// The event at which the state changes.
    public var event: DebugEvent
    /// The state in which the rule holds; nil or 0 for any.
    public var state: Int64?
    /// The new state.
    public var newState: Int64

    /// A rule with its parts.
    public init(event: DebugEvent, state: Int64? = nil, newState: Int64) {
        self.event = event
        self.state = state
        self.newState = newState
    }
}

extension DebugEvent {
    /// The event that takes place once, when a `blkdebug` node is made.
    public static let none = DebugEvent(rawValue: "none")

    /// The names of all events. Source: `BlkdebugEvent` in the QMP schema.
    static let allNames: Set<String> = [
        "l1_update", "l1_grow_alloc_table", "l1_grow_write_table", "l1_grow_activate_table", "l2_load", "l2_update",
        "l2_update_compressed", "l2_alloc_cow_read", "l2_alloc_write", "read_aio", "read_backing_aio",
        "read_compressed",
        "write_aio", "write_compressed", "vmstate_load", "vmstate_save", "cow_read", "cow_write", "reftable_load",
        "reftable_grow", "reftable_update", "refblock_load", "refblock_update", "refblock_update_part",
        "refblock_alloc",
        "refblock_alloc_hookup", "refblock_alloc_write", "refblock_alloc_write_blocks", "refblock_alloc_write_table",
        "refblock_alloc_switch_table", "cluster_alloc", "cluster_alloc_bytes", "cluster_free", "flush_to_os",
        "flush_to_disk", "pwritev_rmw_head", "pwritev_rmw_after_head", "pwritev_rmw_tail", "pwritev_rmw_after_tail",
        "pwritev", "pwritev_zero", "pwritev_done", "empty_image_prepare", "l1_shrink_write_table",
        "l1_shrink_free_l2_clusters", "cor_write", "cluster_alloc_space", "none",
    ]
}
