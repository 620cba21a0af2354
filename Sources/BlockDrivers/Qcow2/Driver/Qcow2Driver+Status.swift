import BlockGraph
import IOLoop
import Qcow2Format

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
        return status(of: run, length: min(run.length, limit - range.lowerBound), isBeyondBacking)
    }

    private func status(of run: GuestRun, length: Int64, _ isBeyondBacking: Bool) -> BlockStatus {
        var status = BlockStatus(length: length, isAllocated: run.kind != .unallocated)
        switch run.kind {
        case .data:
            status.isData = true
            status.asksFile = mayHoldZeroes
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
