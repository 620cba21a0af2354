/// The lowest node of a bitmap's tree: 32,768 bits, in one of two forms.
///
/// - A list, in order, of the bits that differ from all the others: ones among zeroes, or zeroes among ones. Bits scattered
///   over a large disk take two bytes each then, and not the memory of all that lies between.
/// - Words, where a list would have more than 1,024 entries. They become a list again at 256, so that a few changes to and fro
///   do not rewrite the leaf each time.
final class BitmapLeaf: BitmapNode {
    /// The `shift` of a leaf: a 64th of it.
    static let shift = 9
    /// The number of its bits.
    static let size = 64 << shift
    private static let longestList = 1024
    private static let shortList = 256

    /// The bits that are one if `listsOnes`, else zero, where there are no words.
    private var list: [UInt16] = []
    private var listsOnes: Bool
    /// All bits, or nothing where the list says it.
    private var words: [UInt64] = []

    init(filled: Bool) {
        listsOnes = !filled
        super.init(shift: Self.shift, count: filled ? Self.size : 0)
    }

    private init(copying other: BitmapLeaf) {
        (list, listsOnes, words) = (other.list, other.listsOnes, other.words)
        super.init(shift: Self.shift, count: other.count)
    }

    /// A leaf with the bits of `words`, of which there are as many as a leaf has.
    init(words: [UInt64]) {
        (listsOnes, self.words) = (true, words)
        super.init(shift: Self.shift, count: words.reduce(0) { $0 + $1.nonzeroBitCount })
        shorten()
    }

    override func copy() -> BitmapNode { BitmapLeaf(copying: self) }

    private var isList: Bool { words.isEmpty }

    // MARK: Changes

    override func set(_ low: Int, _ high: Int) { change(low, high, to: true) }

    override func reset(_ low: Int, _ high: Int) { change(low, high, to: false) }

    private func change(_ low: Int, _ high: Int, to value: Bool) {
        if isList {
            if changeList(low, high, to: value) { return }
            spellOut()
        }
        changeWords(low, high, to: value)
        shorten()
    }

    /// Changes the list; false where it would become too long, and nothing is done.
    private func changeList(_ low: Int, _ high: Int, to value: Bool) -> Bool {
        let first = place(of: low)
        let last = place(of: high)
        if value == listsOnes {
            guard list.count - (last - first) + (high - low) <= Self.longestList else { return false }
            if high - low == 1 {
                if first == last { list.insert(UInt16(low), at: first) }
            } else {
                list.replaceSubrange(first..<last, with: (low..<high).lazy.map { UInt16($0) })
            }
        } else if first < last {
            list.removeSubrange(first..<last)
        }
        count = listsOnes ? list.count : Self.size - list.count
        return true
    }

    private func changeWords(_ low: Int, _ high: Int, to value: Bool) {
        for index in low >> 6...(high - 1) >> 6 {
            let start = index << 6
            let mask = UInt64.bits(max(low - start, 0), min(high - start, 64))
            let old = words[index]
            let new = value ? old | mask : old & ~mask
            count += new.nonzeroBitCount - old.nonzeroBitCount
            words[index] = new
        }
    }

    /// The place in the list of the first entry that is not less than `bit`.
    private func place(of bit: Int) -> Int {
        var (low, high) = (0, list.count)
        // Most disks are written upwards.
        if let last = list.last, Int(last) < bit { return high }
        while low < high {
            let middle = (low + high) / 2
            if Int(list[middle]) < bit { low = middle + 1 } else { high = middle }
        }
        return low
    }

    // MARK: Forms

    /// Makes words of the list.
    private func spellOut() {
        words = [UInt64](repeating: listsOnes ? 0 : ~0, count: Self.size / 64)
        for bit in list { words[Int(bit) >> 6] ^= 1 << UInt64(bit & 63) }
        list = []
    }

    /// Makes a list of the words where it is short.
    private func shorten() {
        let ones = count <= Self.shortList
        guard ones || Self.size - count <= Self.shortList else { return }
        let flip: UInt64 = ones ? 0 : ~0
        var short: [UInt16] = []
        short.reserveCapacity(ones ? count : Self.size - count)
        for index in words.indices {
            var rest = words[index] ^ flip
            while rest != 0 {
                short.append(UInt16(index << 6 + rest.trailingZeroBitCount))
                rest &= rest - 1
            }
        }
        replace(with: short, areOnes: ones)
    }

    private func replace(with list: [UInt16], areOnes: Bool) {
        self.list = list
        listsOnes = areOnes
        words = []
        count = areOnes ? list.count : Self.size - list.count
    }

    // MARK: Queries

    override func firstOne(from low: Int) -> Int? { first(true, from: low) }

    override func firstZero(from low: Int) -> Int? { first(false, from: low) }

    private func first(_ value: Bool, from low: Int) -> Int? {
        guard isList else { return firstInWords(value, from: low) }
        var place = place(of: low)
        if value == listsOnes { return place < list.count ? Int(list[place]) : nil }
        var bit = low
        while place < list.count, Int(list[place]) == bit {
            place += 1
            bit += 1
        }
        return bit < Self.size ? bit : nil
    }

    private func firstInWords(_ value: Bool, from low: Int) -> Int? {
        let flip: UInt64 = value ? 0 : ~0
        var index = low >> 6
        var word = (words[index] ^ flip) & .bits(from: low & 63)
        while word == 0 {
            index += 1
            guard index < words.count else { return nil }
            word = words[index] ^ flip
        }
        return index << 6 + word.trailingZeroBitCount
    }

    override func forEachRun(_ low: Int, _ high: Int, at offset: Int, _ body: (Range<Int>) -> Bool) -> Bool {
        guard isList, listsOnes else {
            var start = low
            while start < high, let from = first(true, from: start), from < high {
                start = min(first(false, from: from) ?? Self.size, high)
                guard body(offset + from..<offset + start) else { return false }
            }
            return true
        }
        for place in place(of: low)..<list.count {
            let bit = Int(list[place])
            guard bit < high else { break }
            guard body(offset + bit..<offset + bit + 1) else { return false }
        }
        return true
    }

    private func hasWord(_ bit: UInt16) -> Bool { words[Int(bit) >> 6] >> UInt64(bit & 63) & 1 == 1 }

    // MARK: Union

    override func formUnion(_ other: BitmapNode) {
        let other = unsafeDowncast(other, to: BitmapLeaf.self)
        switch (isList, other.isList) {
        case (true, true): unite(withList: other)
        case (true, false):
            guard listsOnes else { return replace(with: list.filter { !other.hasWord($0) }, areOnes: false) }
            let own = list
            (list, words, count) = ([], other.words, other.count)
            for bit in own { changeWords(Int(bit), Int(bit) + 1, to: true) }
            shorten()
        case (false, true):
            guard other.listsOnes else {
                return replace(with: other.list.filter { !hasWord($0) }, areOnes: false)
            }
            for bit in other.list { changeWords(Int(bit), Int(bit) + 1, to: true) }
            shorten()
        case (false, false):
            var ones = 0
            for index in words.indices {
                words[index] |= other.words[index]
                ones += words[index].nonzeroBitCount
            }
            count = ones
            shorten()
        }
    }

    override func unite(_ leaf: BitmapLeaf, at low: Int) { formUnion(leaf) }

    private func unite(withList other: BitmapLeaf) {
        switch (listsOnes, other.listsOnes) {
        case (true, true):
            let both = list.united(with: other.list)
            replace(with: both, areOnes: true)
            if both.count > Self.longestList { spellOut() }
        case (true, false): replace(with: other.list.filter(outOf: list, isIn: false), areOnes: false)
        case (false, true): replace(with: list.filter(outOf: other.list, isIn: false), areOnes: false)
        case (false, false): replace(with: list.filter(outOf: other.list, isIn: true), areOnes: false)
        }
    }

    // MARK: The rest

    override func copyWords(from first: Int, into target: UnsafeMutableBufferPointer<UInt64>) {
        guard isList else {
            for index in target.indices { target[index] = words[first + index] }
            return
        }
        if !listsOnes { target.update(repeating: ~0) }
        for place in place(of: first << 6)..<list.count {
            let index = Int(list[place]) >> 6 - first
            guard index < target.count else { break }
            target[index] ^= 1 << UInt64(list[place] & 63)
        }
    }

    override func invariantsHold() -> Bool {
        guard isList else {
            let ones = words.reduce(0) { $0 + $1.nonzeroBitCount }
            return list.isEmpty && ones == count && min(ones, Self.size - ones) > Self.shortList
        }
        guard list.count <= Self.longestList, list.allSatisfy({ Int($0) < Self.size }) else { return false }
        return zip(list, list.dropFirst()).allSatisfy { $0 < $1 }
            && count == (listsOnes ? list.count : Self.size - list.count)
    }

    override var memoryFootprint: Int {
        64 + (list.isEmpty ? 0 : 32 + list.capacity * 2) + (words.isEmpty ? 0 : 32 + words.count * 8)
    }
}

// Sorted lists without duplicates.
extension [UInt16] {
    /// What is in one of the two.
    fileprivate func united(with other: [UInt16]) -> [UInt16] {
        [UInt16](unsafeUninitializedCapacity: count + other.count) { buffer, length in
            var (left, right) = (0, 0)
            while left < count, right < other.count {
                let (mine, theirs) = (self[left], other[right])
                buffer[length] = Swift.min(mine, theirs)
                length += 1
                if mine <= theirs { left += 1 }
                if theirs <= mine { right += 1 }
            }
            for bit in self[left...] + other[right...] {
                buffer[length] = bit
                length += 1
            }
        }
    }

    /// What is, or is not, in the other one as well.
    fileprivate func filter(outOf other: [UInt16], isIn wanted: Bool) -> [UInt16] {
        var place = 0
        return filter { bit in
            while place < other.count, other[place] < bit { place += 1 }
            return (place < other.count && other[place] == bit) == wanted
        }
    }
}
