/// An entry of an L1 table. Spec: qcow2.txt, "L1 table entry".
public struct L1Entry: Sendable, Hashable {
    /// The entry as a number.
    public var rawValue: UInt64

    /// Makes an entry from its number.
    @inlinable public init(rawValue: UInt64) { self.rawValue = rawValue }

    /// Makes an entry that points to the L2 table at `offset`, a multiple of the cluster size below 2^56.
    @inlinable public init(offset: Int64, isCopied: Bool) {
        rawValue = UInt64(bitPattern: offset) & Qcow2.offsetMask | (isCopied ? Qcow2.copiedFlag : 0)
    }

    /// Offset of the L2 table in the file in bytes; 0 if there is none.
    @inlinable public var offset: Int64 { Int64(rawValue & Qcow2.offsetMask) }
    /// Whether the refcount of the L2 table is exactly one.
    @inlinable public var isCopied: Bool {
        get { rawValue & Qcow2.copiedFlag != 0 }
        set { rawValue = newValue ? rawValue | Qcow2.copiedFlag : rawValue & ~Qcow2.copiedFlag }
    }
    /// Whether reserved bits are set.
    @inlinable public var hasReservedBits: Bool { rawValue & ~(Qcow2.offsetMask | Qcow2.copiedFlag) != 0 }
    /// Whether the offset is a multiple of the cluster size.
    @inlinable public func isAligned(_ geometry: Qcow2Geometry) -> Bool { offset & geometry.clusterMask == 0 }
}

/// An entry of the refcount table. Spec: qcow2.txt, "Refcount table entry".
public struct RefcountTableEntry: Sendable, Hashable {
    /// The entry as a number.
    public var rawValue: UInt64

    /// Makes an entry from its number.
    @inlinable public init(rawValue: UInt64) { self.rawValue = rawValue }

    /// Makes an entry that points to the refcount block at `offset`, a multiple of the cluster size.
    @inlinable public init(offset: Int64) { rawValue = UInt64(bitPattern: offset) & Qcow2.refcountTableOffsetMask }

    /// Offset of the refcount block in the file in bytes as stored, which may be beyond what an `Int64` holds.
    @inlinable public var rawOffset: UInt64 { rawValue & Qcow2.refcountTableOffsetMask }
    /// Offset of the refcount block in the file in bytes; 0 if there is none, nil if it is 2^63 or more.
    @inlinable public var offset: Int64? { Int64(exactly: rawOffset) }
    /// Whether reserved bits are set.
    @inlinable public var hasReservedBits: Bool { rawValue & ~Qcow2.refcountTableOffsetMask != 0 }
}
