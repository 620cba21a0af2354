import BlockGraph
import IOLoop
import Synchronization

/// What a look at a refcount finds.
enum RefcountLookup {
    case value(UInt64)
    /// The block is not in memory.
    case notLoaded(block: Int)
    /// There is no block: the refcounts are 0.
    case noBlock(Int)
}

extension Qcow2Image {
    /// The refcount of the cluster with the host offset. Errors: EIO where the refcount table makes no sense; the file's.
    public func refcount(ofClusterAt offset: Int64) async throws(Errno) -> UInt64 {
        while true {
            let lookup = tables.withLock { $0.refcount(of: layout.cluster(offset)) }
            switch lookup {
            case .value(let value): return value
            case .noBlock: return 0
            case .notLoaded(let block): try await loadRefcounts(block)
            }
        }
    }

    /// Adds to the refcounts of all clusters that have a byte in the range; in memory, as with all table changes.
    ///
    /// EINVAL: a refcount would become negative, or greater than its width allows, or there is no refcount block; what
    /// comes before that cluster has been changed. EIO and others as in `refcount`. Clusters that something on disk may
    /// still refer to are to be released instead of counted down.
    public func addReference(_ delta: Int64, to range: ByteRange) async throws(Errno) {
        guard !range.isEmpty else { return }
        let last = layout.cluster(range.upperBound - 1)
        var cluster = layout.cluster(range.lowerBound)
        while cluster <= last {
            let (next, lookup) = tables.withLock { $0.addReferences(delta, cluster...last) }
            cluster = next
            switch lookup {
            case .notLoaded(let block): try await loadRefcounts(block)
            case .noBlock, .value: if next <= last { throw .EINVAL }
            }
        }
    }

    /// Brings a refcount block into memory, unless somebody else does.
    func loadRefcounts(_ block: Int) async throws(Errno) {
        try checkUsable()
        let offset = tables.withLock { Qcow2Layout.blockOffset($0.refcountTable[block]) }
        guard offset & (layout.clusterSize - 1) == 0, offset > 0 else {
            throw await reportCorruption(
                "Refblock offset 0x\(hex(offset)) unaligned (reftable index: \(prefixedHex(block)))")
        }
        guard let slot = try await takeSlot(.refcounts, for: block) else { return }
        let memory = tables.withLock { IOBuffer($0.refcounts.bytes(slot)) }
        await fire(.refblockLoad)
        try await fill(.refcounts, slot, memory, from: offset)
    }
}

extension Qcow2Tables {
    /// The slot of the block with a cluster's refcount, and its index there; or why there is none.
    private mutating func findRefcount(_ cluster: Int64) -> (slot: Int, index: Int, obstacle: RefcountLookup?) {
        let (block, index) = layout.place(ofCluster: cluster)
        if let slot = refcounts.use(block) { return (slot, index, nil) }
        guard block < refcountTable.count, Qcow2Layout.blockOffset(refcountTable[block]) != 0 else {
            return (0, index, .noBlock(block))
        }
        return (0, index, .notLoaded(block: block))
    }

    mutating func refcount(of cluster: Int64) -> RefcountLookup {
        let (slot, index, obstacle) = findRefcount(cluster)
        if let obstacle { return obstacle }
        return .value(layout.refcountWidth.get(refcounts.bytes(slot), index))
    }

    /// Sets the refcounts of clusters whose block is in the slot.
    mutating func setRefcounts(_ slot: Int, _ indices: Range<Int>, to value: UInt64) {
        let memory = refcounts.bytes(slot)
        for index in indices { layout.refcountWidth.set(memory, index, value) }
        refcounts.markDirty(slot, refcounts.granules(layout.refcountWidth.bytes(indices)))
    }

    /// Changes refcounts as far as it goes: the first cluster that was not changed, and what kept it from that.
    mutating func addReferences(_ delta: Int64, _ clusters: ClosedRange<Int64>) -> (Int64, RefcountLookup) {
        let width = layout.refcountWidth
        for cluster in clusters {
            let (slot, index, obstacle) = findRefcount(cluster)
            if let obstacle { return (cluster, obstacle) }
            let old = width.get(refcounts.bytes(slot), index)
            let amount = delta.magnitude
            guard delta < 0 ? old >= amount : width.maximum - old >= amount else { return (cluster, .value(old)) }
            let new = delta < 0 ? old - amount : old + amount
            setRefcounts(slot, index..<index + 1, to: new)
            if new == 0 { noteFree(cluster) }
            if old == 0 { space.noteUsed(Int(cluster) / layout.refcountsInBlock, at: index) }
        }
        return (clusters.upperBound + 1, .value(0))
    }

    /// A cluster has become free.
    private mutating func noteFree(_ cluster: Int64) {
        let (block, index) = layout.place(ofCluster: cluster)
        space.noteFree(block, index)
        if byteCursor != 0, layout.cluster(byteCursor) == cluster { byteCursor = 0 }
    }
}
