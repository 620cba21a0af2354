/// The lowest node of a bitmap's tree: 64 words of 64 bits.
final class BitmapLeaf: BitmapNode {
    /// The `shift` of a leaf: its slots are words.
    static let shift = 6

    private var words: InlineArray<64, UInt64>

    init(filled: Bool) {
        let word: UInt64 = filled ? ~0 : 0
        words = InlineArray(repeating: word)
        super.init(shift: Self.shift, any: word, full: word, count: filled ? 64 * 64 : 0)
    }

    private init(copying other: BitmapLeaf) {
        words = other.words
        super.init(shift: Self.shift, any: other.any, full: other.full, count: other.count)
    }

    override func copy() -> BitmapNode { BitmapLeaf(copying: self) }

    /// Replaces word `index` and brings the summaries up to date.
    private func store(_ word: UInt64, at index: Int) {
        count += word.nonzeroBitCount - words[index].nonzeroBitCount
        words[index] = word
        let bit: UInt64 = 1 << UInt64(index)
        any = word == 0 ? any & ~bit : any | bit
        full = word == ~0 ? full | bit : full & ~bit
    }

    override func set(_ low: Int, _ high: Int) {
        for index in low >> 6...(high - 1) >> 6 {
            let start = index << 6
            store(words[index] | .bits(max(low - start, 0), min(high - start, 64)), at: index)
        }
    }

    override func reset(_ low: Int, _ high: Int) {
        for index in low >> 6...(high - 1) >> 6 {
            let start = index << 6
            store(words[index] & ~.bits(max(low - start, 0), min(high - start, 64)), at: index)
        }
    }

    override func firstOne(from low: Int) -> Int? {
        let index = low >> 6
        let word = words[index] & .bits(from: low & 63)
        if word != 0 { return index << 6 + word.trailingZeroBitCount }
        guard index < 63 else { return nil }
        let next = (any & .bits(from: index + 1)).trailingZeroBitCount
        return next == 64 ? nil : next << 6 + words[next].trailingZeroBitCount
    }

    override func firstZero(from low: Int) -> Int? {
        let index = low >> 6
        let word = ~words[index] & .bits(from: low & 63)
        if word != 0 { return index << 6 + word.trailingZeroBitCount }
        guard index < 63 else { return nil }
        let next = (~full & .bits(from: index + 1)).trailingZeroBitCount
        return next == 64 ? nil : next << 6 + (~words[next]).trailingZeroBitCount
    }

    override func formUnion(_ other: BitmapNode) {
        let other = unsafeDowncast(other, to: BitmapLeaf.self)
        var rest = other.any & ~full
        while rest != 0 {
            let index = rest.trailingZeroBitCount
            rest &= rest - 1
            store(words[index] | other.words[index], at: index)
        }
    }

    override func copyWords(from first: Int, into words: UnsafeMutableBufferPointer<UInt64>) {
        for index in words.indices { words[index] = self.words[first + index] }
    }

    override func invariantsHold() -> Bool {
        var ones = 0
        for index in 0..<64 {
            let word = words[index]
            ones += word.nonzeroBitCount
            guard (any >> UInt64(index)) & 1 == (word == 0 ? 0 : 1) else { return false }
            guard (full >> UInt64(index)) & 1 == (word == ~0 ? 1 : 0) else { return false }
        }
        return ones == count
    }

    override var memoryFootprint: Int { 16 + 4 * 8 + 64 * 8 }
}
