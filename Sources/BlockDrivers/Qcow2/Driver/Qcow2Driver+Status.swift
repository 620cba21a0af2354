import BlockGraph
import IOLoop
import Qcow2Format
import Synchronization

/// Whether many allocated clusters are holes in the file, as after preallocation of metadata.
enum Sparseness: UInt8, AtomicRepresentable {
    case unknown, sparse, dense
}

extension Qcow2Driver {
    /// What the tables say; the longest run that they can tell of.
    public func blockStatus(_ range: ByteRange, precision: BlockStatusPrecision) async throws(Errno) -> BlockStatus {
        let image = image
        let epoch = image.beginRequest()
        defer { image.endRequest(epoch) }
        // The backing file may end within a run.
        let backingEnd = backing?.node.length ?? 0
        let isBeyondBacking = range.lowerBound >= backingEnd
        var limit = range.upperBound
        var run = try await run(range)
        if run.kind == .unallocated, !isBeyondBacking { limit = min(limit, backingEnd) }
        while range.lowerBound + run.length < limit {
            let next = try await self.run(range.lowerBound + run.length..<limit)
            guard run.continues(with: next) else { break }
            run.length += next.length
        }
        var status = status(of: run, length: min(run.length, limit - range.lowerBound), isBeyondBacking)
        if run.kind == .data, precision == .zeroes { status.asksFile = try await isSparse() }
        return status
    }

    /// Whether there are so many more clusters in use than the file takes up that many must be holes. Found out once.
    private func isSparse() async throws(Errno) -> Bool {
        switch sparseness.load(ordering: .relaxed) {
        case .sparse: return true
        case .dense: return false
        case .unknown: break
        }
        let isSparse = try await hasHoles()
        sparseness.store(isSparse ? .sparse : .dense, ordering: .relaxed)
        return isSparse
    }

    private func hasHoles() async throws(Errno) -> Bool {
        guard dataFile == nil, let allocation = initialAllocation else { return false }
        let size = image.geometry.clusterSize
        let real = (allocation + size - 1) / size
        let limit = max(real * 10 / 9, real + 2)
        let end = file.node.length
        guard (end + size - 1) / size > limit else { return false }
        var used: Int64 = 0
        for offset in stride(from: 0, to: end, by: Int64.Stride(size)) {
            if try await image.refcount(ofClusterAt: offset) > 0 { used += 1 }
            if used > limit { return true }
        }
        return false
    }

    private func status(of run: GuestRun, length: Int64, _ isBeyondBacking: Bool) -> BlockStatus {
        var status = BlockStatus(length: length, isAllocated: run.kind != .unallocated)
        switch run.kind {
        case .data:
            status.isData = true
        case .zero: status.isZero = true
        case .unallocated: status.isZero = isBeyondBacking
        case .compressed:
            status.isData = true
            status.isCompressed = true
        }
        if let host = run.hostOffset {
            status.hostOffset = host
            status.file = image.dataNode
        }
        return status
    }
}

extension GuestRun {
    /// Whether both runs are one to somebody who only asks.
    fileprivate func continues(with next: GuestRun) -> Bool {
        guard next.kind == kind else { return false }
        switch (hostOffset, next.hostOffset) {
        case (nil, nil): return true
        case (let host?, let nextHost?): return host + length == nextHost
        default: return false
        }
    }
}
