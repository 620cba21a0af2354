import BlockGraph
import IOLoop
import Synchronization

/// How a try to allocate clusters in memory ended.
enum AllocationStep {
    case allocated(Range<Int64>)
    /// A refcount block must be loaded first.
    case notLoaded(block: Int)
    /// There is no refcount block.
    case noBlock(Int)
    /// The format cannot address a cluster so far away.
    case tooFar
}

extension Qcow2Image {
    /// Allocates contiguous clusters: their host bytes. The refcounts are 1 in memory; nobody else gets the clusters.
    ///
    /// There may be fewer than asked for, but at least one. What they contain on disk is not defined. They go back with
    /// `abandon` where no table ever referred to them, else with `release`.
    ///
    /// - Parameters:
    ///   - count: how many are wanted, 1 or more.
    ///   - wanted: the host offset where the clusters should begin, taken where it is free.
    /// Errors: EFBIG where the image has become too large for the format; EIO where the refcounts make no sense; ENOSPC and
    /// others of the file.
    public func allocateClusters(
        atMost count: Int, contiguousWith wanted: Int64? = nil
    ) async throws(Errno) -> ByteRange {
        await fire(.clusterAlloc)
        let range = try await allocate(atMost: count, at: wanted, holdingStructureLock: false)
        guard range.lowerBound != 0 else {
            throw await reportCorruption(
                "Preventing invalid write on metadata (overlaps with qcow2_header)", range: range)
        }
        return range
    }

    /// Allocates room for compressed data, which shares clusters with other compressed data: the host offset.
    ///
    /// Each cluster that holds a part of the data has got one reference for it. Errors: as `allocateClusters`.
    ///
    /// - Parameter count: the bytes, from 1 to the cluster size.
    public func allocateBytes(_ count: Int) async throws(Errno) -> Int64 {
        await fire(.clusterAllocBytes)
        try await prepareAllocation()
        while true {
            try checkUsable()
            let step = tables.withLock { $0.allocateBytes(Int64(count)) }
            guard let offset = try await resolve(step, holdingStructureLock: false)?.lowerBound else { continue }
            guard offset >= layout.clusterSize else {
                throw await reportCorruption("Preventing invalid allocation of compressed cluster at offset 0")
            }
            return offset
        }
    }

    /// Allocates clusters; see `allocateClusters`.
    func allocate(
        atMost count: Int, at wanted: Int64?, holdingStructureLock: Bool
    ) async throws(Errno) -> ByteRange {
        try await prepareAllocation()
        while true {
            try checkUsable()
            let step = tables.withLock { $0.allocate(atMost: count, at: wanted.map(layout.cluster)) }
            if let range = try await resolve(step, holdingStructureLock: holdingStructureLock) { return range }
        }
    }

    /// Gives back clusters, or bytes of `allocateBytes`, that no table ever referred to: they can be used again at once.
    public func abandon(_ range: ByteRange) {
        guard !range.isEmpty else { return }
        let clusters = layout.cluster(range.lowerBound)...layout.cluster(range.upperBound - 1)
        let (next, _) = tables.withLock { $0.addReferences(-1, clusters) }
        guard next <= clusters.upperBound else { return }
        // The refcount block is not in memory just now.
        let rest = layout.offset(next)..<layout.offset(clusters.upperBound + 1)
        quarantine.withLock { $0.abandon(ReleasedClusters(range: rest, reason: .other, isAbandoned: true)) }
    }

    /// What comes before an allocation: marks the image where refcounts are written late, and keeps what waits to become
    /// free within bounds.
    func prepareAllocation() async throws(Errno) {
        if mustMarkDirty.load(ordering: .relaxed) { try await markDirty() }
        if quarantine.withLock({ $0.byteCount > Self.quarantineLimit }) { try await commit() }
    }

    /// The most bytes that wait to become free before an allocation does something about it.
    private static let quarantineLimit: Int64 = 64 << 20

    /// The result of a step, or nil after what it needs has been done.
    private func resolve(_ step: AllocationStep, holdingStructureLock: Bool) async throws(Errno) -> ByteRange? {
        switch step {
        case .allocated(let range): return range
        case .notLoaded(let block): try await loadRefcounts(block)
        case .tooFar: throw .EFBIG
        case .noBlock(let block):
            if holdingStructureLock {
                try await makeRefcountBlock(block)
            } else {
                try await structureLock.withLock { () async throws(Errno) in try await self.makeRefcountBlock(block) }
            }
        }
        return nil
    }
}

extension Qcow2Tables {
    /// Takes up to `count` free clusters in a row: at the wanted one, or else the first that are free.
    mutating func allocate(atMost count: Int, at wanted: Int64?) -> AllocationStep {
        if let wanted, wanted > 0, let step = allocate(atMost: count, inBlockOf: wanted) { return step }
        var block = space.firstBlock
        while true {
            let first = Int64(block) * Int64(layout.refcountsInBlock)
            if layout.offset(first) >= Qcow2Layout.hostLimit { return .tooFar }
            if !space.isFull(block) {
                guard block < refcountTable.count, Qcow2Layout.blockOffset(refcountTable[block]) != 0 else {
                    return .noBlock(block)
                }
                guard let slot = refcounts.use(block) else { return .notLoaded(block: block) }
                let memory = refcounts.bytes(slot)
                let range = space.start(of: block)..<layout.refcountsInBlock
                if let index = layout.refcountWidth.firstFree(memory, in: range) {
                    let end = take(slot, from: index, atMost: count)
                    space.noteUsed(block, before: end)
                    return .allocated(layout.offset(first + Int64(index))..<layout.offset(first + Int64(end)))
                }
                space.noteUsed(block, before: layout.refcountsInBlock)
            }
            block += 1
        }
    }

    /// Takes free clusters from exactly this one on; nil where it is not free.
    private mutating func allocate(atMost count: Int, inBlockOf cluster: Int64) -> AllocationStep? {
        let (block, index) = layout.place(ofCluster: cluster)
        guard layout.offset(cluster) < Qcow2Layout.hostLimit, index >= space.start(of: block) else { return nil }
        guard block < refcountTable.count, Qcow2Layout.blockOffset(refcountTable[block]) != 0 else { return nil }
        guard let slot = refcounts.use(block) else { return .notLoaded(block: block) }
        guard layout.refcountWidth.get(refcounts.bytes(slot), index) == 0 else { return nil }
        let end = take(slot, from: index, atMost: count)
        if index == space.start(of: block) { space.noteUsed(block, before: end) }
        return .allocated(layout.offset(cluster)..<layout.offset(cluster + Int64(end - index)))
    }

    /// Sets the refcounts of the free clusters from an index on to 1: the end of them.
    private mutating func take(_ slot: Int, from index: Int, atMost count: Int) -> Int {
        let limit = min(layout.refcountsInBlock, index + count)
        let end = layout.refcountWidth.endOfFree(refcounts.bytes(slot), from: index, limit: limit)
        setRefcounts(slot, index..<end, to: 1)
        return end
    }

    /// Takes room for compressed data: behind other such data where it fits, else in a new cluster.
    mutating func allocateBytes(_ count: Int64) -> AllocationStep {
        let size = layout.clusterSize
        if byteCursor != 0 {
            let cluster = layout.cluster(byteCursor)
            let room = layout.offset(cluster + 1) - byteCursor
            let step = room >= count ? shareCluster(cluster) : shareCluster(cluster, andTake: cluster + 1)
            if let step {
                guard case .allocated = step else { return step }
                let start = byteCursor
                byteCursor = (start + count) & (size - 1) == 0 ? 0 : start + count
                return .allocated(start..<start + count)
            }
        }
        let step = allocate(atMost: 1, at: nil)
        guard case .allocated(let range) = step else { return step }
        guard range.upperBound <= layout.compressedLimit else {
            _ = addReferences(-1, layout.cluster(range.lowerBound)...layout.cluster(range.lowerBound))
            return .tooFar
        }
        byteCursor = count == size ? 0 : range.lowerBound + count
        return .allocated(range.lowerBound..<range.lowerBound + count)
    }

    /// Adds a reference to a cluster, and takes the next one where it is free; nil where that cannot be.
    private mutating func shareCluster(_ cluster: Int64, andTake next: Int64? = nil) -> AllocationStep? {
        switch refcount(of: cluster) {
        case .noBlock: return nil
        case .notLoaded(let block): return .notLoaded(block: block)
        case .value(let value): guard value > 0, value < layout.refcountWidth.maximum else { return nil }
        }
        if let next {
            guard layout.offset(next + 1) <= layout.compressedLimit else { return nil }
            guard let step = allocate(atMost: 1, inBlockOf: next) else { return nil }
            guard case .allocated = step else { return step }
        }
        _ = addReferences(1, cluster...cluster)
        return .allocated(0..<0)
    }
}
