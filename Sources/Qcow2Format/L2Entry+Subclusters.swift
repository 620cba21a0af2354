/// A run of subclusters of one kind inside of one cluster.
public struct Qcow2SubclusterRun: Sendable, Hashable {
    /// What they are.
    public var kind: Qcow2SubclusterKind
    /// How many, at least 1.
    public var count: Int

    /// Makes a run.
    @inlinable public init(kind: Qcow2SubclusterKind, count: Int) {
        self.kind = kind
        self.count = count
    }
}

/// Queries and changes of subclusters. Those of images without extended L2 entries see each cluster as one subcluster.
extension L2Entry {
    /// Which subclusters hold data, one bit each.
    @inlinable public var allocationBits: UInt32 { UInt32(truncatingIfNeeded: subclusters) }
    /// Which subclusters read as zeroes, one bit each.
    @inlinable public var zeroBits: UInt32 { UInt32(truncatingIfNeeded: subclusters >> 32) }

    /// What subcluster `index` is. `index` must be below the geometry's `subclustersPerCluster`.
    @inlinable public func subclusterKind(_ index: Int, _ geometry: Qcow2Geometry) -> Qcow2SubclusterKind {
        if isCompressed { return .compressed }
        let hasHost = hasHostCluster(geometry)
        guard geometry.hasSubclusters else {
            if zeroFlag { return hasHost ? .zeroAllocated : .zeroPlain }
            return hasHost ? .normal : .unallocatedPlain
        }
        let allocated = allocationBits >> UInt32(index) & 1 != 0
        let zero = zeroBits >> UInt32(index) & 1 != 0
        switch (allocated, zero) {
        case (true, true): return .invalid
        case (true, false): return hasHost ? .normal : .invalid
        case (false, true): return hasHost ? .zeroAllocated : .zeroPlain
        case (false, false): return hasHost ? .unallocatedAllocated : .unallocatedPlain
        }
    }

    /// The subclusters of one kind from `index` on, to the end of the cluster at most.
    @inlinable public func subclusterRun(at index: Int, _ geometry: Qcow2Geometry) -> Qcow2SubclusterRun {
        let kind = subclusterKind(index, geometry)
        guard geometry.hasSubclusters else { return Qcow2SubclusterRun(kind: kind, count: 1) }
        if kind == .compressed { return Qcow2SubclusterRun(kind: kind, count: 32 - index) }
        let same =
            switch kind {
            case .normal: allocationBits & ~zeroBits
            case .zeroPlain, .zeroAllocated: zeroBits & ~allocationBits
            case .invalid: hasHostCluster(geometry) ? allocationBits & zeroBits : allocationBits
            default: ~(allocationBits | zeroBits)
            }
        // Bits shifted in at the top are 0, so that their complement ends the run at the cluster's end.
        let run = (~(same >> UInt32(index))).trailingZeroBitCount
        return Qcow2SubclusterRun(kind: kind, count: run)
    }

    /// The bits of `count` subclusters from `first` on, in the lower half. The range must be inside of 0..<32.
    @inlinable public static func subclusterMask(first: Int, count: Int) -> UInt64 {
        count == 0 ? 0 : (UInt64.max >> UInt64(64 - count)) << UInt64(first)
    }

    /// Whether all subclusters hold data in the host cluster.
    @inlinable public func isFullyAllocated(_ geometry: Qcow2Geometry) -> Bool {
        geometry.hasSubclusters
            ? !isCompressed && subclusters == 0xffff_ffff : kind(geometry) == .normal
    }

    /// Marks subclusters as data.
    @inlinable public mutating func setAllocated(first: Int, count: Int) {
        let mask = Self.subclusterMask(first: first, count: count)
        subclusters = (subclusters | mask) & ~(mask << 32)
    }

    /// Marks subclusters as reading as zeroes.
    @inlinable public mutating func setZero(first: Int, count: Int) {
        let mask = Self.subclusterMask(first: first, count: count)
        subclusters = (subclusters | mask << 32) & ~mask
    }

    /// Marks subclusters as neither data nor zeroes: reads come from the backing file.
    @inlinable public mutating func setUnallocated(first: Int, count: Int) {
        let mask = Self.subclusterMask(first: first, count: count)
        subclusters &= ~(mask | mask << 32)
    }
}
