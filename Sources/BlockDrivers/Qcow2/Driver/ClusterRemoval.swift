import BlockGraph
import IOLoop
import Qcow2Format

/// How zeroing and discarding change entries. Spec: qcow2.txt, Standard Cluster Descriptor.
struct ClusterRemoval {
    /// What is to be done.
    enum Kind {
        /// The bytes read as zeroes, and the clusters stay set aside for them.
        case zero
        /// The bytes read as zeroes, and whole clusters are given up.
        case zeroAndUnmap
        /// As before, but that what no layer has stays so.
        case discard
        /// The layer has nothing there any more.
        case empty
    }

    /// What is to be done.
    let kind: Kind
    let geometry: Qcow2Geometry
    /// Whether entries can say that a cluster reads as zeroes.
    let hasZeroFlag: Bool
    /// Whether there is a backing file.
    let hasBacking: Bool
    /// Whether clusters stay set aside even where they could be given up (`discard-no-unref`).
    let keepsClusters: Bool

    /// Whether anything changes in a slice. ENOTSUP: a part of a compressed cluster would have to.
    func changes(_ slice: L2Slice?, _ range: ByteRange) throws(Errno) -> Bool {
        guard let slice else { return kind == .discard ? hasBacking : kind != .empty && hasZeroFlag }
        var isNeeded = false
        for (start, part) in clusters(of: range) {
            let old = slice[slice.index(of: start)]
            let new = try entry(after: old, part, clusterStart: start)
            isNeeded = isNeeded || new != old
        }
        return isNeeded
    }

    /// Changes a slice; the former entries that named clusters which are no longer used, with their guest offsets.
    func apply(to slice: inout L2Slice, _ range: ByteRange) throws(Errno) -> [(guestOffset: Int64, entry: L2Entry)] {
        var former: [(guestOffset: Int64, entry: L2Entry)] = []
        for (start, part) in clusters(of: range) {
            let index = slice.index(of: start)
            let old = slice[index]
            let new = try entry(after: old, part, clusterStart: start)
            guard new != old else { continue }
            slice[index] = new
            let gaveUp = old.isCompressed || (old.clusterOffset(geometry) != nil && new.clusterOffset(geometry) == nil)
            if gaveUp || (keepsClusters && kind != .zero && old.clusterOffset(geometry) != nil) {
                former.append((start, old))
            }
        }
        return former
    }

    /// The clusters that a range touches, and what it covers of each.
    private func clusters(of range: ByteRange) -> some Sequence<(start: Int64, part: ByteRange)> {
        let size = geometry.clusterSize
        return stride(from: range.lowerBound.alignedDown(to: size), to: range.upperBound, by: Int64.Stride(size)).lazy
            .map {
                ($0, range.clamped(to: $0..<$0 + size))
            }
    }

    /// The entry of a cluster of which a part is removed.
    private func entry(after old: L2Entry, _ part: ByteRange, clusterStart: Int64) throws(Errno) -> L2Entry {
        if kind == .empty { return L2Entry() }
        if part.length < geometry.clusterSize { return try entry(after: old, subclusters: part, clusterStart) }
        if kind == .discard, !hasBacking, isUnallocated(old) { return old }
        guard hasZeroFlag else { return L2Entry() }
        let keeps = (kind == .zero || keepsClusters) && !old.isCompressed && old.clusterOffset(geometry) != nil
        let place = keeps ? old.rawValue & ~1 : 0
        return geometry.hasSubclusters
            ? L2Entry(rawValue: place, subclusters: UInt64(UInt32.max) << 32)
            : L2Entry(rawValue: place | 1, subclusters: 0)
    }

    private func entry(
        after old: L2Entry, subclusters part: ByteRange, _ clusterStart: Int64
    ) throws(Errno) -> L2Entry {
        guard geometry.hasSubclusters, !old.isCompressed else { throw .ENOTSUP }
        let planner = AllocationPlanner(geometry: geometry)
        let mask = planner.mask(of: part, inClusterAt: clusterStart)
        let zero = UInt64(old.zeroBits | mask) << 32
        return L2Entry(rawValue: old.rawValue, subclusters: zero | UInt64(old.allocationBits & ~mask))
    }

    /// Whether a cluster has nothing in this layer.
    private func isUnallocated(_ entry: L2Entry) -> Bool {
        entry.kind(geometry) == .unallocated && entry.subclusters == 0
    }
}
