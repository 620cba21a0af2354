/// What a whole cluster is, by its L2 entry.
public enum Qcow2ClusterKind: UInt8, Sendable, Hashable {
    /// Reads come from the backing file. With extended L2 entries: no host cluster, and no bits say otherwise.
    case unallocated
    /// Reads as zeroes, without a host cluster.
    case zeroPlain
    /// Reads as zeroes, with a host cluster.
    case zeroAllocated
    /// Has a host cluster; with extended L2 entries, the subclusters tell what is in it.
    case normal
    /// Compressed.
    case compressed
}

/// What one subcluster is; of an image without extended L2 entries, what the cluster is.
public enum Qcow2SubclusterKind: UInt8, Sendable, Hashable {
    /// Reads come from the backing file; the cluster has no host cluster.
    case unallocatedPlain
    /// Reads come from the backing file, although the cluster has a host cluster.
    case unallocatedAllocated
    /// Reads as zeroes; the cluster has no host cluster.
    case zeroPlain
    /// Reads as zeroes; the cluster has a host cluster.
    case zeroAllocated
    /// Data in the host cluster.
    case normal
    /// Part of a compressed cluster.
    case compressed
    /// The bits contradict each other: the image is corrupt.
    case invalid
}

/// An L2 entry of either width. Spec: qcow2.txt, "L2 table entry" and "Extended L2 Entries".
///
/// Of a standard entry, ``subclusters`` is 0 and has no meaning.
public struct L2Entry: Sendable, Hashable {
    /// The first 64 bits.
    public var rawValue: UInt64
    /// The subcluster bitmap: allocation in bits 0 to 31, zeroes in bits 32 to 63.
    public var subclusters: UInt64

    /// Makes an entry from its numbers.
    @inlinable public init(rawValue: UInt64 = 0, subclusters: UInt64 = 0) {
        self.rawValue = rawValue
        self.subclusters = subclusters
    }

    /// Makes the entry of a cluster at `hostOffset`, a multiple of the cluster size below 2^56.
    @inlinable public init(hostOffset: Int64, isCopied: Bool, subclusters: UInt64 = 0) {
        rawValue = UInt64(bitPattern: hostOffset) & Qcow2.offsetMask | (isCopied ? Qcow2.copiedFlag : 0)
        self.subclusters = subclusters
    }

    /// Reads the entry number `index` of a table's bytes, which must contain it.
    @inlinable public init(in table: UnsafeRawBufferPointer, at index: Int, geometry: Qcow2Geometry) {
        let offset = index * geometry.l2EntrySize
        precondition(index >= 0 && offset <= table.count - geometry.l2EntrySize)
        rawValue = UInt64(bigEndian: table.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
        subclusters =
            geometry.hasSubclusters
            ? UInt64(bigEndian: table.loadUnaligned(fromByteOffset: offset + 8, as: UInt64.self)) : 0
    }

    /// Stores this entry as number `index` of a table's bytes, which must have room for it.
    @inlinable public func store(in table: UnsafeMutableRawBufferPointer, at index: Int, geometry: Qcow2Geometry) {
        let offset = index * geometry.l2EntrySize
        table.storeBigEndian(rawValue, at: offset)
        if geometry.hasSubclusters { table.storeBigEndian(subclusters, at: offset + 8) }
    }

    // MARK: Fields

    /// Offset of the host cluster in bytes; 0 if there is none (or at offset 0 of a data file, see ``hasHostCluster(_:)``).
    @inlinable public var hostOffset: Int64 {
        get { Int64(rawValue & Qcow2.offsetMask) }
        set { rawValue = rawValue & ~Qcow2.offsetMask | UInt64(bitPattern: newValue) & Qcow2.offsetMask }
    }
    /// Whether the refcount of the host cluster is exactly one.
    @inlinable public var isCopied: Bool {
        get { rawValue & Qcow2.copiedFlag != 0 }
        set { rawValue = newValue ? rawValue | Qcow2.copiedFlag : rawValue & ~Qcow2.copiedFlag }
    }
    /// Whether the cluster is compressed.
    @inlinable public var isCompressed: Bool { rawValue & Qcow2.compressedFlag != 0 }
    /// The zero flag of a standard entry.
    @inlinable public var zeroFlag: Bool {
        get { rawValue & Qcow2.zeroFlag != 0 }
        set { rawValue = newValue ? rawValue | Qcow2.zeroFlag : rawValue & ~Qcow2.zeroFlag }
    }

    /// Whether the entry of an uncompressed cluster names a host cluster.
    @inlinable public func hasHostCluster(_ geometry: Qcow2Geometry) -> Bool {
        rawValue & Qcow2.offsetMask != 0 || (geometry.hasDataFile && isCopied)
    }

    /// Whether bits are set that the specification reserves. QEMU ignores them outside of its checks, and always bit 0.
    @inlinable public func hasReservedBits(_ geometry: Qcow2Geometry) -> Bool {
        if isCompressed {
            return geometry.compressedOffsetMask & ~Qcow2.lowOffsetMask & rawValue != 0
                || (geometry.hasSubclusters && subclusters != 0)
        }
        let known = Qcow2.offsetMask | Qcow2.copiedFlag | Qcow2.zeroFlag
        return rawValue & ~known != 0
    }

    /// What the cluster is.
    @inlinable public func kind(_ geometry: Qcow2Geometry) -> Qcow2ClusterKind {
        if isCompressed { return .compressed }
        let allocated = hasHostCluster(geometry)
        if !geometry.hasSubclusters, zeroFlag { return allocated ? .zeroAllocated : .zeroPlain }
        return allocated ? .normal : .unallocated
    }

    /// Whether the entry says nothing at all, so that reads of the whole cluster come from the backing file.
    @inlinable public var isEmpty: Bool { rawValue == 0 && subclusters == 0 }
}

extension Qcow2 {
    /// Bits 0 to 55: offsets below 64 PiB.
    @inlinable public static var lowOffsetMask: UInt64 { (1 << 56) - 1 }
}
