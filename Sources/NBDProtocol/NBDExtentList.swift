/// One run of the same status.
public struct NBDExtent: Sendable, Hashable {
    /// Bytes, not zero.
    public var length: UInt64
    /// What the context's flags say.
    public var status: UInt32

    /// Makes an extent.
    public init(length: UInt64, status: UInt32) {
        self.length = length
        self.status = status
    }
}

/// Collects the extents of one block status chunk: joins neighbours of the same status, and keeps to the limits.
public struct NBDExtentList: Sendable {
    /// The extents so far.
    public private(set) var extents: [NBDExtent] = []
    /// Bytes that the extents cover.
    public private(set) var covered: UInt64 = 0
    private var wanted: UInt64 = 0
    private var limit = 1

    /// Makes an empty list that takes nothing; ``start(_:)`` prepares it.
    public init() {}

    /// Empties the list, keeping its memory, and prepares it for `request`: at most its length, and one extent if it
    /// asks for one, else ``NBD/maximumExtents``.
    public mutating func start(_ request: NBDRequest) {
        extents.removeAll(keepingCapacity: true)
        covered = 0
        wanted = request.length
        limit = request.flags.contains(.requestOne) ? 1 : NBD.maximumExtents
    }

    /// Whether the whole range of the request is covered.
    public var isComplete: Bool { covered >= wanted }

    /// Adds `length` bytes with `status` after what is covered; bytes beyond the request are dropped.
    ///
    /// - Returns: whether more may be added; false when the range is covered, or the extent did not fit any more.
    public mutating func append(length: UInt64, status: UInt32) -> Bool {
        let length = min(length, wanted - covered)
        guard length > 0 else { return !isComplete }
        if let last = extents.indices.last, extents[last].status == status {
            extents[last].length += length
        } else {
            guard extents.count < limit else { return false }
            extents.append(NBDExtent(length: length, status: status))
        }
        covered += length
        return !isComplete
    }
}
