import BlockGraph
import IOLoop
import Qcow2Format

/// How a write that changes entries is to be done: for a run of clusters in one slice, all of one kind.
struct AllocationPlan {
    /// Where the clusters are to lie.
    enum Place: Equatable {
        /// In clusters that the entries name already, or that an external data file has for them: the host offset.
        case existing(Int64)
        /// In clusters that are still to be allocated.
        case new
        /// Nothing is to be changed: the data can be written in place.
        case inPlace
    }

    /// The place.
    let place: Place
    /// The guest bytes of the run's clusters.
    var clusters: ByteRange
    /// The part of the request that lies in the run.
    var data: ByteRange
    /// The guest bytes in front of the data that must be brought along.
    var head: ByteRange
    /// The guest bytes behind the data that must be brought along.
    var tail: ByteRange

    /// All bytes that the run's clusters get, those brought along included.
    var written: ByteRange { head.lowerBound..<tail.upperBound }
}

/// Makes plans. Spec: qcow2.txt, Extended L2 Entries.
struct AllocationPlanner {
    let geometry: Qcow2Geometry

    /// The plan for the first clusters of a write, which lies within the slice (nil: no table, all is unallocated).
    func plan(_ range: ByteRange, _ slice: L2Slice?) -> AllocationPlan {
        let size = geometry.clusterSize
        let covering = range.aligned(outwardTo: size)
        let first = slice.map { $0[$0.index(of: range.lowerBound)] } ?? L2Entry()
        let place = place(first, range, covering.lowerBound)
        var end = covering.lowerBound + size
        var last = first
        while end < range.upperBound {
            let next = slice.map { $0[$0.index(of: end)] } ?? L2Entry()
            guard extends(place, with: self.place(next, range, end), by: end - covering.lowerBound) else { break }
            last = next
            end += size
        }
        let data = range.lowerBound..<min(range.upperBound, end)
        return AllocationPlan(
            place: place, clusters: covering.lowerBound..<end, data: data,
            head: head(of: data, first, place), tail: tail(of: data, last, place))
    }

    private func extends(_ place: AllocationPlan.Place, with next: AllocationPlan.Place, by distance: Int64) -> Bool {
        switch (place, next) {
        case (.new, .new), (.inPlace, .inPlace): true
        case (.existing(let host), .existing(let nextHost)): host + distance == nextHost
        default: false
        }
    }

    /// What becomes of a cluster that is written to.
    private func place(_ entry: L2Entry, _ range: ByteRange, _ clusterStart: Int64) -> AllocationPlan.Place {
        if !entry.isCompressed, entry.isCopied, let host = entry.clusterOffset(geometry) {
            return isInPlace(entry, range, clusterStart) ? .inPlace : .existing(host)
        }
        return geometry.hasDataFile ? .existing(clusterStart) : .new
    }

    /// Whether all bytes of the range in a cluster are there.
    private func isInPlace(_ entry: L2Entry, _ range: ByteRange, _ clusterStart: Int64) -> Bool {
        guard geometry.hasSubclusters else { return !entry.zeroFlag }
        let mask = mask(of: range, inClusterAt: clusterStart)
        return entry.allocationBits & mask == mask
    }

    /// The subclusters of a cluster that a range touches.
    func mask(of range: ByteRange, inClusterAt clusterStart: Int64) -> UInt32 {
        guard geometry.hasSubclusters else { return .max }
        let size = geometry.subclusterSize
        let start = max(0, range.lowerBound - clusterStart) / size
        let end = (min(geometry.clusterSize, range.upperBound - clusterStart) + size - 1) / size
        let below = start >= 32 ? UInt32.max : (UInt32(1) << UInt32(start)) - 1
        let upTo = end >= 32 ? UInt32.max : (UInt32(1) << UInt32(end)) - 1
        return upTo & ~below
    }

    /// The subclusters of an entry that must be brought along when its cluster is replaced.
    private func kept(_ entry: L2Entry, _ place: AllocationPlan.Place) -> UInt32 {
        guard case .new = place else { return 0 }
        guard geometry.hasSubclusters else { return entry.isCompressed ? 1 : 0 }
        return entry.isCompressed ? .max : entry.allocationBits
    }

    private func head(of data: ByteRange, _ entry: L2Entry, _ place: AllocationPlan.Place) -> ByteRange {
        let clusterStart = data.lowerBound.alignedDown(to: geometry.clusterSize)
        let unit = geometry.subclusterSize
        let index = (data.lowerBound - clusterStart) / unit
        var start = clusterStart + index * unit
        if case .existing = place, geometry.hasSubclusters, entry.allocationBits & 1 << UInt32(index) != 0 {
            start = data.lowerBound
        }
        let kept = kept(entry, place)
        if kept != 0 { start = min(start, clusterStart + Int64(kept.trailingZeroBitCount) * unit) }
        return start..<data.lowerBound
    }

    private func tail(of data: ByteRange, _ entry: L2Entry, _ place: AllocationPlan.Place) -> ByteRange {
        let clusterStart = (data.upperBound - 1).alignedDown(to: geometry.clusterSize)
        let unit = geometry.subclusterSize
        let index = (data.upperBound - 1 - clusterStart) / unit
        var end = clusterStart + (index + 1) * unit
        if case .existing = place, geometry.hasSubclusters, entry.allocationBits & 1 << UInt32(index) != 0 {
            end = data.upperBound
        }
        let kept = kept(entry, place)
        if kept != 0 { end = max(end, clusterStart + Int64(32 - kept.leadingZeroBitCount) * unit) }
        return data.upperBound..<end
    }

    /// The entry of a cluster after a write.
    ///
    /// - Parameters:
    ///   - old: the entry before it.
    ///   - written: the guest bytes that have been written, by whole subclusters but for those that were there.
    ///   - host: the host cluster.
    func entry(after old: L2Entry, _ written: ByteRange, clusterStart: Int64, host: Int64, isNew: Bool) -> L2Entry {
        guard geometry.hasSubclusters else { return L2Entry(hostOffset: host, isCopied: true) }
        let mask = mask(of: written, inClusterAt: clusterStart)
        let kept = isNew || old.isCompressed ? 0 : old.allocationBits
        let zero = old.isCompressed ? 0 : old.zeroBits
        return L2Entry(
            hostOffset: host, isCopied: true, subclusters: UInt64(zero & ~mask) << 32 | UInt64(kept | mask))
    }
}
