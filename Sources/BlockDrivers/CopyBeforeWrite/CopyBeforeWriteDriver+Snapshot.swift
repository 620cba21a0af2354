import BlockGraph
import IOLoop

/// The snapshot reader's side.
extension CopyBeforeWriteDriver {
    public func readSnapshot(_ range: ByteRange, into buffer: IOBuffer) async throws(Errno) {
        guard !range.isEmpty else { return }
        guard let parts = state.beginRead(range) else { throw .EACCES }
        if parts.more.isEmpty { return try await read(parts.first, of: range, into: buffer) }
        let helpers = min(parts.more.count, Self.concurrency - 1)
        try await SnapshotRead(parts, of: range, into: buffer, by: self).run(helpers: helpers, from: readers)
    }

    /// Reads a part to its place in the buffer for the whole range, and gives it back.
    func read(
        _ part: SnapshotState.ReadPart, of range: ByteRange, into buffer: IOBuffer
    ) async throws(Errno) {
        defer { state.finishRead(part) }
        let start = Int(part.range.lowerBound - range.lowerBound)
        let piece = buffer[start..<start + Int(part.range.length)]
        switch part.place {
        case .source: try await source.node.read(part.range, into: piece)
        case .target: try await target.node.read(part.range, into: piece)
        case .memory(let copy): piece.copy(from: copy.bytes(part.range))
        }
    }

    public func snapshotStatus(
        _ range: ByteRange, precision: BlockStatusPrecision
    ) async throws(Errno) -> BlockStatus {
        guard let part = state.beginReadOfPrefix(of: range) else { throw .EACCES }
        defer { state.finishRead(part) }
        var status: BlockStatus
        switch part.place {
        case .source:
            (status, _) = try await source.node.blockStatusAbove(base: nil, part.range, precision: precision)
        case .target:
            (status, _) = try await target.node.blockStatusAbove(base: nil, part.range, precision: precision)
        case .memory(let copy):
            // As it will be in the target.
            let isZero = copy.buffer.isZero
            status = BlockStatus(length: part.range.length, isData: !isZero, isZero: isZero)
        }
        status.isAllocated = true
        return status
    }

    public func discardSnapshot(_ range: ByteRange) async throws(Errno) {
        let clusters = state.discard(range)
        guard !clusters.isEmpty else { return }
        // A copy under way would fill again what is about to be freed, and a read under way would see it go.
        await state.copies.waitUntilFree(clusters)
        await state.arrivals.waitUntilFree(clusters)
        await state.targetReads.waitUntilFree(clusters)
        try await target.node.discard(clusters)
    }
}
