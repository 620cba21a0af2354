import BlockGraph
import IOLoop

/// The snapshot reader's side.
extension CopyBeforeWriteDriver {
    public func readSnapshot(_ range: ByteRange, into buffer: IOBuffer) async throws(Errno) {
        guard !range.isEmpty else { return }
        guard let parts = state.beginRead(range) else { throw .EACCES }
        try await concurrently(parts, limit: Self.concurrency) { (part) async throws(Errno) in
            let start = Int(part.range.lowerBound - range.lowerBound)
            let child = part.isInTarget ? self.target : self.source
            defer { self.state.finishRead(part) }
            try await child.node.read(part.range, into: buffer[start..<start + Int(part.range.length)])
        }
    }

    public func snapshotStatus(
        _ range: ByteRange, precision: BlockStatusPrecision
    ) async throws(Errno) -> BlockStatus {
        guard let accessible = state.accessiblePrefix(of: range) else { throw .EACCES }
        guard let parts = state.beginRead(accessible), let first = parts.first else { throw .EACCES }
        for part in parts.dropFirst() { state.finishRead(part) }
        defer { state.finishRead(first) }
        let node = first.isInTarget ? target.node : source.node
        var (status, _) = try await node.blockStatusAbove(base: nil, first.range, precision: precision)
        status.isAllocated = true
        return status
    }

    public func discardSnapshot(_ range: ByteRange) async throws(Errno) {
        let clusters = state.discard(range)
        guard !clusters.isEmpty else { return }
        // A copy under way would fill again what is about to be freed, and a read under way would see it go.
        await state.copies.waitUntilFree(clusters)
        await state.targetReads.waitUntilFree(clusters)
        try await target.node.discard(clusters)
    }
}
