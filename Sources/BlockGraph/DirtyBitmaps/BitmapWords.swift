/// Bits that are set in ascending order, gathered for one leaf of a bitmap after the other.
struct BitmapWords {
    /// The number of the first bit of the leaf at hand.
    private(set) var start = 0
    private var words: [UInt64] = []

    /// Sets bits that lie in the leaf at hand, or in any one leaf where none is; false where they do not, and nothing is done.
    mutating func add(_ bits: Range<Int>) -> Bool {
        if words.isEmpty {
            guard bits.lowerBound / BitmapLeaf.size == (bits.upperBound - 1) / BitmapLeaf.size else { return false }
            start = bits.lowerBound / BitmapLeaf.size * BitmapLeaf.size
            words = [UInt64](repeating: 0, count: BitmapLeaf.size / 64)
        }
        let (low, high) = (bits.lowerBound - start, bits.upperBound - start)
        guard low >= 0, high <= BitmapLeaf.size else { return false }
        for index in low >> 6...(high - 1) >> 6 {
            words[index] |= .bits(max(low - index << 6, 0), min(high - index << 6, 64))
        }
        return true
    }

    /// The leaf at hand; nil where there is none. There is none afterwards.
    mutating func takeLeaf() -> BitmapLeaf? {
        guard !words.isEmpty else { return nil }
        defer { words = [] }
        return BitmapLeaf(words: words)
    }
}
