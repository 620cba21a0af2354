import BlockGraph
import IOLoop
import Qcow2Format
import Synchronization

/// New refcount blocks, a longer refcount table that refers to them where that is needed, and clusters in use behind both.
private struct RefcountExtension {
    /// The first new block; all behind it are new as well.
    let firstBlock: Int
    let blockCount: Int
    /// The entries of the new refcount table; nil where the old one is long enough.
    let tableEntryCount: Int?
    let tableClusters: Int64
    /// The first cluster: the new blocks lie there, then the table, then what the caller wants.
    let firstCluster: Int64
    let wantedClusters: Int64

    var tableCluster: Int64 { firstCluster + Int64(blockCount) }
    var usedClusters: Int64 { Int64(blockCount) + tableClusters + wantedClusters }
    var wanted: Range<Int64> { firstCluster + usedClusters - wantedClusters..<firstCluster + usedClusters }
}

extension Qcow2Image {
    /// The largest refcount table, in bytes.
    static let maximumRefcountTableSize = 8 << 20

    /// Makes the refcount block at an index of the refcount table, unless it is there. The structure lock is held.
    func makeRefcountBlock(_ block: Int) async throws(Errno) {
        guard tables.withLock({ !$0.hasRefcountBlock(block) }) else { return }
        _ = try await extendRefcounts(from: block, wanting: 0)
    }

    /// Allocates exactly `count` clusters in a row, for a table: their host bytes. Errors: as `allocateClusters`.
    public func allocateContiguously(_ count: Int) async throws(Errno) -> ByteRange {
        await fire(.clusterAlloc)
        return try await structureLock.withLock { () async throws(Errno) -> ByteRange in
            try await self.allocateContiguouslyLocked(count)
        }
    }

    /// The same; the structure lock is held.
    func allocateContiguouslyLocked(_ count: Int) async throws(Errno) -> ByteRange {
        if count == 1 { return try await allocate(atMost: 1, at: nil, holdingStructureLock: true) }
        try await prepareAllocation()
        // Others may be quicker in taking a part of what was found.
        for _ in 0..<8 {
            guard let found = try await findFree(count) else { break }
            if tables.withLock({ $0.takeAll(found) }) {
                return layout.offset(found.lowerBound)..<layout.offset(found.upperBound)
            }
        }
        let block = tables.withLock { $0.firstBlockBehindAll }
        return try await extendRefcounts(from: block, wanting: Int64(count))
    }

    /// Looks for clusters in a row that are free, where refcount blocks are.
    private func findFree(_ count: Int) async throws(Errno) -> Range<Int64>? {
        var (block, end) = tables.withLock { ($0.space.firstBlock, $0.refcountTable.count) }
        var run: Range<Int64> = 0..<0
        while block < end {
            let needsLoading = tables.withLock { tables -> Bool in
                guard tables.hasRefcountBlock(block), !tables.space.isFull(block) else {
                    run = 0..<0
                    return false
                }
                guard let slot = tables.refcounts.use(block) else { return true }
                run = tables.extendRun(run, count: count, block: block, slot: slot)
                return false
            }
            if needsLoading {
                try await loadRefcounts(block)
                continue
            }
            if run.count >= count { return run.lowerBound..<run.lowerBound + Int64(count) }
            block += 1
        }
        end = 0
        return nil
    }

    /// Makes refcount blocks from an index on that describe themselves and `wanted` clusters behind them, whose host bytes
    /// are returned. There are no refcount blocks yet from there on as far as needed. The structure lock is held.
    private func extendRefcounts(from block: Int, wanting wanted: Int64) async throws(Errno) -> ByteRange {
        await fire(.refblockAlloc)
        let oldCount = tables.withLock { $0.refcountTable.count }
        let plan = try plan(from: block, wanting: wanted, tableEntryCount: oldCount)
        let whole = layout.offset(plan.firstCluster)..<layout.offset(plan.firstCluster + plan.usedClusters)
        guard whole.lowerBound != 0 else {
            throw await reportCorruption("Preventing invalid allocation of refcount block at offset 0")
        }
        guard whole.upperBound <= Qcow2Layout.hostLimit else { throw .EFBIG }
        try await checkOverlap(of: whole)
        await fire(plan.tableEntryCount == nil ? .refblockAllocWrite : .refblockAllocWriteBlocks)
        try await writeRefcountBlocks(plan)
        if let count = plan.tableEntryCount {
            try await replaceRefcountTable(plan, entryCount: count)
        } else {
            tables.withLock { $0.hookUp(plan) }
        }
        return layout.offset(plan.wanted.lowerBound)..<layout.offset(plan.wanted.upperBound)
    }

    /// How many blocks and which table there must be. EFBIG: the table would be too large.
    private func plan(
        from block: Int, wanting wanted: Int64, tableEntryCount oldCount: Int
    ) throws(Errno) -> RefcountExtension {
        let inBlock = Int64(layout.refcountsInBlock)
        let entriesInCluster = Int(layout.clusterSize / 8)
        var blocks = 1
        var newCount: Int?
        var tableClusters: Int64 = 0
        while true {
            let used = Int64(blocks) + tableClusters + wanted
            if Int64(blocks) * inBlock < used {
                blocks = Int((used + inBlock - 1) / inBlock)
            } else if block + blocks > newCount ?? oldCount {
                // Half as much again, so that it does not happen often.
                let wish = min(max(block + blocks, oldCount * 3 / 2), Self.maximumRefcountTableSize / 8)
                guard wish >= block + blocks else { throw .EFBIG }
                tableClusters = Int64((wish + entriesInCluster - 1) / entriesInCluster)
                newCount = min(Int(tableClusters) * entriesInCluster, Self.maximumRefcountTableSize / 8)
            } else {
                return RefcountExtension(
                    firstBlock: block, blockCount: blocks, tableEntryCount: newCount, tableClusters: tableClusters,
                    firstCluster: Int64(block) * inBlock, wantedClusters: wanted)
            }
        }
    }

    /// Writes the new blocks whole: they count themselves and what lies behind them.
    private func writeRefcountBlocks(_ plan: RefcountExtension) async throws(Errno) {
        let buffer = BufferPool.shared.take(count: plan.blockCount * Int(layout.clusterSize))
        defer { BufferPool.shared.give(buffer) }
        buffer.fill(0)
        for index in 0..<Int(plan.usedClusters) { layout.refcountWidth.set(buffer.bytes, index, 1) }
        let start = layout.offset(plan.firstCluster)
        try await file.node.write(start..<start + Int64(buffer.count), from: buffer)
    }

    /// Writes a longer refcount table with the new blocks, and lets the header refer to it.
    private func replaceRefcountTable(_ plan: RefcountExtension, entryCount: Int) async throws(Errno) {
        await fire(.reftableGrow)
        await commitLock.lock()
        defer { commitLock.unlock() }
        // The new table must not refer to blocks that are not yet on disk as they are in memory.
        try await writeBackRefcountsLocked()
        let buffer = BufferPool.shared.take(count: Int(plan.tableClusters * layout.clusterSize))
        defer { BufferPool.shared.give(buffer) }
        buffer.fill(0)
        tables.withLock { tables in
            for (index, entry) in tables.refcountTable.enumerated() { buffer.store(entry, at: 8 * index) }
            for index in 0..<plan.blockCount {
                let offset = layout.offset(plan.firstCluster + Int64(index))
                buffer.store(UInt64(offset), at: 8 * (plan.firstBlock + index))
            }
        }
        let start = layout.offset(plan.tableCluster)
        await fire(.refblockAllocWriteTable)
        try await file.node.write(start..<start + Int64(buffer.count), from: buffer)
        try await file.node.flush()
        await fire(.refblockAllocSwitchTable)
        try await updateHeader { header in
            header.refcountTableOffset = start
            header.refcountTableClusters = Int(plan.tableClusters)
        }
        let old = tables.withLock { tables in
            let old = tables.refcountTableRange
            tables.refcountTableOffset = start
            tables.refcountTable += Array(repeating: 0, count: entryCount - tables.refcountTable.count)
            tables.space.grow(to: entryCount)
            tables.hookUp(plan)
            tables.dirtyRefcountTable = DirtySectors()
            return old
        }
        release(old, reason: .other)
    }
}

extension Qcow2Tables {
    /// Whether the refcount table refers to a block at the index.
    func hasRefcountBlock(_ block: Int) -> Bool {
        block < refcountTable.count && Qcow2Layout.blockOffset(refcountTable[block]) != 0
    }

    /// The index behind the last refcount block.
    fileprivate var firstBlockBehindAll: Int {
        (refcountTable.lastIndex { Qcow2Layout.blockOffset($0) != 0 } ?? -1) + 1
    }

    /// Lets the refcount table refer to new blocks.
    fileprivate mutating func hookUp(_ plan: RefcountExtension) {
        for index in 0..<plan.blockCount {
            let cluster = plan.firstCluster + Int64(index)
            refcountTable[plan.firstBlock + index] = UInt64(layout.offset(cluster))
            dirtyRefcountTable.mark(entry: plan.firstBlock + index)
            metadata?.insert(cluster, MetadataClusters.refcountBlock)
            let used = Int(plan.usedClusters) - index * layout.refcountsInBlock
            space.noteUsed(plan.firstBlock + index, before: max(0, min(used, layout.refcountsInBlock)))
        }
    }

    /// Goes on with a run of free clusters that ends before the block; the run that is long enough, or the last one.
    fileprivate func extendRun(_ run: Range<Int64>, count: Int, block: Int, slot: Int) -> Range<Int64> {
        let memory = refcounts.bytes(slot)
        let base = Int64(block) * Int64(layout.refcountsInBlock)
        var run = run.upperBound == base ? run : base..<base
        var index = 0
        while run.count < count, index < layout.refcountsInBlock {
            if layout.refcountWidth.get(memory, index) != 0 {
                guard let next = layout.refcountWidth.firstFree(memory, in: index..<layout.refcountsInBlock) else {
                    return 0..<0
                }
                index = next
                run = base + Int64(index)..<base + Int64(index)
            }
            run = run.lowerBound..<run.upperBound + 1
            index += 1
        }
        return run
    }

    /// Takes all of the clusters where they are still free and their refcounts are in memory.
    fileprivate mutating func takeAll(_ clusters: Range<Int64>) -> Bool {
        for cluster in clusters {
            guard case .value(0) = refcount(of: cluster) else { return false }
        }
        _ = addReferences(1, clusters.lowerBound...clusters.upperBound - 1)
        return true
    }
}
