/// A bitmap over a disk: one bit for each granule of a power-of-two number of bytes.
///
/// The bits are kept in a 64-ary tree with summaries at every level, in which areas of zeroes and areas of ones take no
/// memory: looking for the next one or zero, counting, and merging stay fast for disks of many tebibytes, and a
/// bitmap that is not used costs almost nothing. Copies share their memory until one of them changes (copying is O(1)).
///
/// It is a plain value: not synchronised by itself. Ranges are in bytes; what lies outside the disk is ignored, so that
/// no range traps.
public struct HierarchicalBitmap {
    /// The size of the disk in bytes.
    public private(set) var length: Int64
    /// log2 of the granularity, 0 ... 62.
    let granularityShift: Int
    /// The tree; nil if no bit is set.
    private(set) var root: BitmapNode?

    /// An all-clean bitmap.
    /// - Parameters:
    ///   - length: the size of the disk in bytes, at least 0. It need not be a multiple of the granularity: the last
    ///     granule then counts as a whole one.
    ///   - granularity: the bytes that one bit stands for: a power of two. (Bitmaps that users make have at least 512
    ///     bytes; `DirtyBitmapList` checks that.)
    public init(length: Int64, granularity: Int64) {
        precondition(length >= 0 && granularity > 0 && granularity & (granularity - 1) == 0)
        self.length = length
        self.granularityShift = granularity.trailingZeroBitCount
    }

    /// The bytes that one bit stands for.
    public var granularity: Int64 { 1 << Int64(granularityShift) }

    /// The number of bits.
    var bitCount: Int { length == 0 ? 0 : Int((length - 1) >> Int64(granularityShift)) + 1 }

    /// The number of dirty granules.
    public var dirtyGranuleCount: Int { root?.count ?? 0 }

    /// The dirty granules in bytes. A granule counts whole even where the disk ends within it, so that this can exceed
    /// `length` (as in QEMU's `BlockDirtyInfo.count`); `Int64.max` where it would not fit.
    public var dirtyByteCount: Int64 {
        let (bytes, overflow) = Int64(dirtyGranuleCount).multipliedReportingOverflow(by: granularity)
        return overflow ? .max : bytes
    }

    /// Whether no granule is dirty.
    public var isClean: Bool { root == nil }

    /// The bytes of memory that the bitmap's tree occupies, whatever of it is shared with copies included.
    public var memoryFootprint: Int { root?.memoryFootprint ?? 0 }

    // MARK: Changes

    /// Makes every granule dirty that `range` touches.
    public mutating func set(_ range: Range<Int64>) {
        guard let bits = bits(touching: range) else { return }
        if let root, root.firstZero(from: bits.lowerBound) ?? .max >= bits.upperBound { return }
        ownedRoot().set(bits.lowerBound, bits.upperBound)
    }

    /// Makes every granule clean that `range` touches, even in part: for a caller that knows that the whole granules
    /// are done with.
    public mutating func reset(covering range: Range<Int64>) {
        resetBits(bits(touching: range))
    }

    /// Makes every granule clean that lies wholly in `range`, the end of the disk ending the last granule.
    public mutating func reset(contained range: Range<Int64>) {
        let last = range.upperBound >= length ? length : range.upperBound & ~(granularity - 1)
        let (first, overflow) = max(range.lowerBound, 0).addingReportingOverflow(granularity - 1)
        let start = first & ~(granularity - 1)
        guard !overflow, start < last else { return }
        resetBits(bits(touching: start..<last))
    }

    /// Makes every granule clean.
    public mutating func clear() { root = nil }

    /// Makes every granule dirty.
    public mutating func setAll() { set(0..<length) }

    /// Changes the size of the disk: what is kept keeps its bits, what is added is clean. (If the last granule was cut
    /// by the old end and dirty, it stays dirty as a whole.)
    public mutating func truncate(to newLength: Int64) {
        precondition(newLength >= 0)
        let oldCount = bitCount
        length = newLength
        if bitCount < oldCount { resetBits(bitCount..<oldCount) }
        raiseRoot(to: Self.rootShift(bits: bitCount))
    }

    private mutating func resetBits(_ bits: Range<Int>?) {
        guard let bits, root?.firstOne(from: bits.lowerBound) ?? .max < bits.upperBound else { return }
        let owned = ownedRoot()
        owned.reset(bits.lowerBound, bits.upperBound)
        if owned.count == 0 { self.root = nil }
    }

    // MARK: Bits and nodes

    /// The bits of the granules that `range` touches within the disk, nil if there are none.
    func bits(touching range: Range<Int64>) -> Range<Int>? {
        let (low, high) = (max(range.lowerBound, 0), min(range.upperBound, length))
        guard low < high else { return nil }
        return Int(low >> Int64(granularityShift))..<Int((high - 1) >> Int64(granularityShift)) + 1
    }

    /// The root, made if there is none, and owned by this bitmap alone.
    mutating func ownedRoot() -> BitmapNode {
        if isKnownUniquelyReferenced(&root), let root { return root }
        let owned = root?.copy() ?? .make(shift: Self.rootShift(bits: bitCount), filled: false)
        root = owned
        return owned
    }

    /// The slot size (as log2) of the lowest root that has room for `bits` bits.
    static func rootShift(bits: Int) -> Int {
        var shift = BitmapLeaf.shift
        while shift < 60, (bits - 1) >> (shift + 6) > 0 { shift += 6 }
        return shift
    }

    /// `node`, or nodes above it so that the root has at least the given shift.
    static func raise(_ node: BitmapNode, to shift: Int) -> BitmapNode {
        var node = node
        while node.shift < shift { node = BitmapBranch(raising: node) }
        return node
    }

    /// Puts nodes above the root, if there is one, so that it has at least the given shift.
    mutating func raiseRoot(to shift: Int) {
        if let root { self.root = Self.raise(root, to: shift) }
    }

    /// Replaces the tree.
    mutating func adopt(_ root: BitmapNode) { self.root = root }

    /// Whether the tree agrees with itself and holds no bit beyond the end of the disk. For tests.
    func _invariantsHold() -> Bool {
        guard let root else { return true }
        guard root.count > 0, root.shift >= Self.rootShift(bits: bitCount), root.invariantsHold() else { return false }
        if root.shift < 60, bitCount == 1 << (root.shift + 6) { return true }
        return root.firstOne(from: bitCount) == nil
    }
}

// The tree is shared between copies, but a node is only changed while exactly one bitmap value refers to it.
extension HierarchicalBitmap: @unchecked Sendable {}
