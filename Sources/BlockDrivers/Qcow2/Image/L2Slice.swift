import Qcow2Format

/// A part of an L2 table: the entries of a run of guest clusters. Valid only within the call that got it.
public struct L2Slice: @unchecked Sendable {
    // Unchecked: the memory is touched only under the image's mutex.

    /// The guest offset of the first entry's cluster.
    public let guestOffset: Int64
    /// The number of entries.
    public let count: Int
    /// The host offset of the first entry, for messages.
    public let hostOffset: Int64

    let memory: UnsafeMutableRawBufferPointer
    let clusterBits: Int
    let isExtended: Bool
    /// The indices of the entries that were set.
    var changed: Range<Int>?

    init(guestOffset: Int64, hostOffset: Int64, memory: UnsafeMutableRawBufferPointer, layout: Qcow2Layout) {
        self.guestOffset = guestOffset
        self.hostOffset = hostOffset
        count = layout.entriesInPart
        self.memory = memory
        clusterBits = layout.clusterBits
        isExtended = layout.geometry.hasSubclusters
    }

    /// The index of the entry for a guest offset that lies in the slice.
    public func index(of guestOffset: Int64) -> Int { Int((guestOffset - self.guestOffset) >> Int64(clusterBits)) }

    /// The guest bytes that the slice describes.
    public var guestRange: Range<Int64> { guestOffset..<guestOffset + (Int64(count) << Int64(clusterBits)) }

    /// The entry at an index below `count`. Setting it is allowed in `changeEntries` only.
    public subscript(index: Int) -> L2Entry {
        get {
            precondition(index >= 0 && index < count, "entry outside of the L2 slice")
            if isExtended {
                return L2Entry(rawValue: word(2 * index), subclusters: word(2 * index + 1))
            }
            return L2Entry(rawValue: word(index), subclusters: 0)
        }
        set {
            precondition(index >= 0 && index < count, "entry outside of the L2 slice")
            if isExtended {
                setWord(2 * index, newValue.rawValue)
                setWord(2 * index + 1, newValue.subclusters)
            } else {
                setWord(index, newValue.rawValue)
            }
            if let changed {
                self.changed = min(changed.lowerBound, index)..<max(changed.upperBound, index + 1)
            } else {
                changed = index..<index + 1
            }
        }
    }

    private func word(_ index: Int) -> UInt64 {
        UInt64(bigEndian: memory.load(fromByteOffset: 8 * index, as: UInt64.self))
    }

    private func setWord(_ index: Int, _ value: UInt64) {
        memory.storeBytes(of: value.bigEndian, toByteOffset: 8 * index, as: UInt64.self)
    }
}
