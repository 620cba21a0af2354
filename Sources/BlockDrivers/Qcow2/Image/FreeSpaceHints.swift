/// Where clusters may be free, so that the search for them never looks twice at clusters in use.
struct FreeSpaceHints: Sendable {
    /// For each refcount block: no cluster before this index is free.
    private var starts: [Int32]
    /// No block before this one has a free cluster.
    private(set) var firstBlock = 0
    private let refcountsInBlock: Int

    /// Nothing is known of `blockCount` blocks.
    init(blockCount: Int, refcountsInBlock: Int) {
        starts = [Int32](repeating: 0, count: blockCount)
        self.refcountsInBlock = refcountsInBlock
    }

    /// The index from which on a block may have free clusters; the number of its refcounts where it has none.
    func start(of block: Int) -> Int { block < starts.count ? Int(starts[block]) : 0 }

    /// Whether a block is known to have no free cluster.
    func isFull(_ block: Int) -> Bool { start(of: block) >= refcountsInBlock }

    /// The table of blocks has become longer.
    mutating func grow(to blockCount: Int) {
        starts += [Int32](repeating: 0, count: max(0, blockCount - starts.count))
    }

    /// No cluster of the block before the index is free.
    mutating func noteUsed(_ block: Int, before index: Int) {
        guard block < starts.count else { return }
        starts[block] = max(starts[block], Int32(index))
        while firstBlock < starts.count, isFull(firstBlock) { firstBlock += 1 }
    }

    /// The cluster at the index of the block is in use.
    mutating func noteUsed(_ block: Int, at index: Int) {
        if start(of: block) == index { noteUsed(block, before: index + 1) }
    }

    /// The cluster at the index of the block is free.
    mutating func noteFree(_ block: Int, _ index: Int) {
        guard block < starts.count else { return }
        starts[block] = min(starts[block], Int32(index))
        firstBlock = min(firstBlock, block)
    }
}
