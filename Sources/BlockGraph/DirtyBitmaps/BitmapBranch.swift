/// An inner node of a bitmap's tree: 64 subtrees, of which only those with both ones and zeroes exist in memory.
final class BitmapBranch: BitmapNode {
    private var children: InlineArray<64, BitmapNode?>
    /// The slots with at least one bit set.
    private var any: UInt64
    /// The slots with every bit set.
    private var full: UInt64

    init(shift: Int, filled: Bool) {
        children = InlineArray(repeating: nil)
        any = filled ? ~0 : 0
        full = any
        super.init(shift: shift, count: filled ? 64 << shift : 0)
    }

    /// A node one level above `child`, which becomes its first slot.
    init(raising child: BitmapNode) {
        children = InlineArray(repeating: nil)
        let shift = child.shift + 6
        any = child.count == 0 ? 0 : 1
        full = 0
        super.init(shift: shift, count: child.count)
        children[0] = child.count == 0 ? nil : child
        collapse(0)
    }

    private init(copying other: BitmapBranch) {
        children = other.children
        (any, full) = (other.any, other.full)
        super.init(shift: other.shift, count: other.count)
    }

    override func copy() -> BitmapNode { BitmapBranch(copying: self) }

    /// The number of bits in one slot.
    private var span: Int { 1 << shift }

    /// The child in `slot`, made if the slot has none, and owned by this node alone.
    private func ownedChild(_ slot: Int, filled: Bool) -> BitmapNode {
        if isKnownUniquelyReferenced(&children[slot]), let child = children[slot] { return child }
        let child = children[slot]?.copy() ?? .make(shift: shift - 6, filled: filled)
        children[slot] = child
        return child
    }

    /// Drops the child in `slot` if it became all zeroes or all ones, and sets the slot's summary bits.
    private func collapse(_ slot: Int) {
        guard let child = children[slot] else { return }
        let bit: UInt64 = 1 << UInt64(slot)
        any = child.count == 0 ? any & ~bit : any | bit
        full = child.count == span ? full | bit : full & ~bit
        if child.count == 0 || child.count == span { children[slot] = nil }
    }

    /// Makes a whole slot ones (`filled`) or zeroes.
    private func replace(_ slot: Int, filled: Bool) {
        let bit: UInt64 = 1 << UInt64(slot)
        count += (filled ? span : 0) - (full & bit != 0 ? span : children[slot]?.count ?? 0)
        children[slot] = nil
        any = filled ? any | bit : any & ~bit
        full = filled ? full | bit : full & ~bit
    }

    override func set(_ low: Int, _ high: Int) {
        for slot in low >> shift...(high - 1) >> shift where full >> UInt64(slot) & 1 == 0 {
            let start = slot << shift
            let (from, to) = (max(low - start, 0), min(high - start, span))
            if to - from == span {
                replace(slot, filled: true)
            } else {
                let child = ownedChild(slot, filled: false)
                let before = child.count
                child.set(from, to)
                count += child.count - before
                collapse(slot)
            }
        }
    }

    override func reset(_ low: Int, _ high: Int) {
        for slot in low >> shift...(high - 1) >> shift where any >> UInt64(slot) & 1 == 1 {
            let start = slot << shift
            let (from, to) = (max(low - start, 0), min(high - start, span))
            if to - from == span {
                replace(slot, filled: false)
            } else {
                let child = ownedChild(slot, filled: true)
                let before = child.count
                child.reset(from, to)
                count += child.count - before
                collapse(slot)
            }
        }
    }

    override func firstOne(from low: Int) -> Int? {
        let slot = low >> shift
        if any >> UInt64(slot) & 1 == 1 {
            guard let child = children[slot] else { return low }
            if let found = child.firstOne(from: low & (span - 1)) { return slot << shift + found }
        }
        guard slot < 63 else { return nil }
        let next = (any & .bits(from: slot + 1)).trailingZeroBitCount
        return next == 64 ? nil : next << shift + (children[next]?.firstOne(from: 0) ?? 0)
    }

    override func firstZero(from low: Int) -> Int? {
        let slot = low >> shift
        if full >> UInt64(slot) & 1 == 0 {
            guard let child = children[slot] else { return low }
            if let found = child.firstZero(from: low & (span - 1)) { return slot << shift + found }
        }
        guard slot < 63 else { return nil }
        let next = (~full & .bits(from: slot + 1)).trailingZeroBitCount
        return next == 64 ? nil : next << shift + (children[next]?.firstZero(from: 0) ?? 0)
    }

    override func forEachRun(_ low: Int, _ high: Int, at offset: Int, _ body: (Range<Int>) -> Bool) -> Bool {
        var slot = low >> shift
        while slot <= (high - 1) >> shift {
            let next = (any & .bits(from: slot)).trailingZeroBitCount
            guard next <= (high - 1) >> shift else { break }
            let start = next << shift
            let (from, to) = (max(low - start, 0), min(high - start, span))
            let goesOn =
                if let child = children[next] {
                    child.forEachRun(from, to, at: offset + start, body)
                } else {
                    body(offset + start + from..<offset + start + to)
                }
            guard goesOn else { return false }
            slot = next + 1
        }
        return true
    }

    override func formUnion(_ other: BitmapNode) {
        let other = unsafeDowncast(other, to: BitmapBranch.self)
        var rest = other.any & ~full
        while rest != 0 {
            let slot = rest.trailingZeroBitCount
            rest &= rest - 1
            guard let theirs = other.children[slot] else {
                replace(slot, filled: true)
                continue
            }
            if children[slot] === theirs { continue }
            guard children[slot] != nil else {
                children[slot] = theirs
                count += theirs.count
                any |= 1 << UInt64(slot)
                continue
            }
            let child = ownedChild(slot, filled: false)
            let before = child.count
            child.formUnion(theirs)
            count += child.count - before
            collapse(slot)
        }
    }

    override func unite(_ leaf: BitmapLeaf, at low: Int) {
        let slot = low >> shift
        guard full >> UInt64(slot) & 1 == 0 else { return }
        if children[slot] == nil, shift == BitmapLeaf.shift + 6 {
            children[slot] = leaf
            count += leaf.count
        } else {
            let child = ownedChild(slot, filled: false)
            let before = child.count
            child.unite(leaf, at: low & (span - 1))
            count += child.count - before
        }
        collapse(slot)
    }

    override func copyWords(from first: Int, into words: UnsafeMutableBufferPointer<UInt64>) {
        let wordShift = shift - 6
        var position = 0
        while position < words.count {
            let slot = (first + position) >> wordShift
            let inside = first + position - slot << wordShift
            let length = min(1 << wordShift - inside, words.count - position)
            let part = UnsafeMutableBufferPointer(rebasing: words[position..<position + length])
            if let child = children[slot] {
                child.copyWords(from: inside, into: part)
            } else if full >> UInt64(slot) & 1 == 1 {
                part.update(repeating: ~0)
            }
            position += length
        }
    }

    override func invariantsHold() -> Bool {
        var ones = 0
        for slot in 0..<64 {
            let (hasOnes, isFull) = (any >> UInt64(slot) & 1 == 1, full >> UInt64(slot) & 1 == 1)
            if let child = children[slot] {
                guard child.shift == shift - 6, hasOnes, !isFull, child.count > 0, child.count < span else {
                    return false
                }
                guard child.invariantsHold() else { return false }
                ones += child.count
            } else {
                guard hasOnes == isFull else { return false }
                if isFull { ones += span }
            }
        }
        return ones == count
    }

    override var memoryFootprint: Int {
        var bytes = 16 + 4 * 8 + 64 * 8
        for slot in 0..<64 { bytes += children[slot]?.memoryFootprint ?? 0 }
        return bytes
    }
}
