import BlockGraph
import IOLoop
import Qcow2Format

/// What the tables say of a run of guest bytes.
struct GuestRun {
    /// The kinds of runs.
    enum Kind {
        /// The bytes are in the data file.
        case data
        /// The bytes read as zeroes.
        case zero
        /// The bytes come from the backing file, and are zeroes where that has none.
        case unallocated
        /// The bytes lie in one compressed cluster.
        case compressed
    }

    /// The kind.
    var kind: Kind
    /// The length in bytes.
    var length: Int64
    /// Where the bytes lie, or would lie as far as space is set aside for them; nil where there is no such place.
    var hostOffset: Int64?
    /// Whether nothing but the active tables refers to the place, so that it may be written to.
    var isCopied = false
    /// The entry of the first cluster.
    var entry: L2Entry

    /// Whether a write changes the bytes where they are.
    var isInPlace: Bool { kind == .data && isCopied }
}

extension GuestRun {
    /// The run from an offset within a cluster to the end of what is of one kind in that cluster. EUCLEAN: the entry makes no sense.
    init(_ entry: L2Entry, from start: Int64, geometry: Qcow2Geometry) throws(Errno) {
        self.init(kind: .unallocated, length: geometry.clusterSize - start, entry: entry)
        if entry.isCompressed {
            kind = .compressed
            return
        }
        if let host = entry.clusterOffset(geometry) {
            guard host % geometry.clusterSize == 0 else { throw .EUCLEAN }
            hostOffset = host + start
            isCopied = entry.isCopied
        }
        guard geometry.hasSubclusters else {
            kind = entry.zeroFlag ? .zero : hostOffset == nil ? .unallocated : .data
            return
        }
        let index = Int(start / geometry.subclusterSize)
        let data = entry.allocationBits
        let zero = entry.zeroBits
        guard data & zero == 0, data == 0 || hostOffset != nil else { throw .EUCLEAN }
        let bit = UInt32(1) << UInt32(index)
        let same: UInt32
        if data & bit != 0 {
            (kind, same) = (.data, data)
        } else if zero & bit != 0 {
            (kind, same) = (.zero, zero)
        } else {
            (kind, same) = (.unallocated, ~(data | zero))
        }
        let end = min(32, index + (~same >> UInt32(index)).trailingZeroBitCount)
        length = Int64(end) * geometry.subclusterSize - start
    }

    /// Makes the run longer by one that begins where it ends, where both are of one kind and place; whether that is so.
    mutating func extend(with next: GuestRun) -> Bool {
        guard next.kind == kind, kind != .compressed, next.isCopied == isCopied else { return false }
        switch (hostOffset, next.hostOffset) {
        case (nil, nil): break
        case (let host?, let nextHost?) where host + length == nextHost: break
        default: return false
        }
        length += next.length
        return true
    }
}

extension L2Slice {
    /// The longest run of one kind from an offset in the slice, not beyond `end`. EUCLEAN: the first entry makes no sense.
    func run(from offset: Int64, to end: Int64, geometry: Qcow2Geometry) throws(Errno) -> GuestRun {
        var index = index(of: offset)
        var run = try GuestRun(self[index], from: offset & (geometry.clusterSize - 1), geometry: geometry)
        while offset + run.length < end, index + 1 < count {
            index += 1
            let clusterStart = guestOffset + Int64(index) * geometry.clusterSize
            guard offset + run.length == clusterStart else { break }
            // An entry that makes no sense is an error for those who need it.
            guard let next = try? GuestRun(self[index], from: 0, geometry: geometry), run.extend(with: next) else {
                break
            }
        }
        run.length = min(run.length, end - offset)
        return run
    }
}

extension L2Entry {
    /// The host cluster that a standard entry names; nil where it names none.
    func clusterOffset(_ geometry: Qcow2Geometry) -> Int64? { hasHostCluster(geometry) ? hostOffset : nil }
}
