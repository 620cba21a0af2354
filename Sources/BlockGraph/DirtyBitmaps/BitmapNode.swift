/// A node of the 64-ary tree behind `HierarchicalBitmap`.
///
/// A node stands for `64 << shift` bits. Branches divide them into 64 equal slots, of which those that are all zeroes or all
/// ones need no memory of their own; leaves hold bits.
/// Nodes are shared between copies of a bitmap: the mutating methods may only be called on a node that the caller has
/// made sure to be its only owner (`copy()` otherwise). Bit positions are relative to the node.
class BitmapNode {
    /// log2 of the number of bits in one slot.
    let shift: Int
    /// The number of bits set. The root of an enormous bitmap may stand for more bits than an `Int` counts, but a
    /// bitmap never has that many.
    final var count: Int

    init(shift: Int, count: Int) {
        self.shift = shift
        self.count = count
    }

    /// A new node with 64 slots of `1 << shift` bits, all zero, or all one if `filled`.
    static func make(shift: Int, filled: Bool) -> BitmapNode {
        shift == BitmapLeaf.shift ? BitmapLeaf(filled: filled) : BitmapBranch(shift: shift, filled: filled)
    }

    /// A copy that its only owner may change; what lies below stays shared.
    func copy() -> BitmapNode { fatalError("abstract") }

    /// Sets the bits `low ..< high`.
    func set(_ low: Int, _ high: Int) { fatalError("abstract") }

    /// Clears the bits `low ..< high`.
    func reset(_ low: Int, _ high: Int) { fatalError("abstract") }

    /// The first one at or after `low`, nil if there is none.
    func firstOne(from low: Int) -> Int? { fatalError("abstract") }

    /// The first zero at or after `low`, nil if there is none.
    func firstZero(from low: Int) -> Int? { fatalError("abstract") }

    /// Calls `body` with the runs of ones within `low ..< high`, in order, their bits counted from `offset` on. A run may come
    /// in parts. Returns false at once when `body` does.
    func forEachRun(_ low: Int, _ high: Int, at offset: Int, _ body: (Range<Int>) -> Bool) -> Bool {
        fatalError("abstract")
    }

    /// Sets all bits that are set in `other`, which has the same shape.
    func formUnion(_ other: BitmapNode) { fatalError("abstract") }

    /// Sets all bits that are set in `leaf`, whose first bit is number `low` here. It becomes a part of this node.
    func unite(_ leaf: BitmapLeaf, at low: Int) { fatalError("abstract") }

    /// Writes the 64-bit words from number `first` on into `words`, which holds zeroes and lies within the node.
    func copyWords(from first: Int, into words: UnsafeMutableBufferPointer<UInt64>) { fatalError("abstract") }

    /// Whether summaries and counts agree with what they summarise, here and below.
    func invariantsHold() -> Bool { fatalError("abstract") }

    /// The bytes of memory that the nodes from here on downwards occupy, shared ones included.
    var memoryFootprint: Int { fatalError("abstract") }
}

extension UInt64 {
    /// The bits `low ... 63`.
    static func bits(from low: Int) -> UInt64 { ~0 << UInt64(truncatingIfNeeded: low) }

    /// The bits `low ..< high` of a word; `low < high`, both within `0 ... 64`.
    static func bits(_ low: Int, _ high: Int) -> UInt64 {
        bits(from: low) & (~0 >> UInt64(truncatingIfNeeded: 64 - high))
    }
}
