import IOLoop

extension BlockNode {
    /// Writes the buffer, which has the range's length. A write beyond the end makes the node longer where the driver can.
    ///
    /// On return the data is visible to all readers; it is durable after a `flush`, or at once with `forceUnitAccess`.
    /// Whether it fails or not, the range is marked in the dirty bitmaps. EPERM: the node is read-only.
    public func write(_ range: ByteRange, from buffer: IOBuffer, flags: WriteFlags = []) async throws(Errno) {
        guard !isReadOnly else { throw .EPERM }
        guard !range.isEmpty else { return }
        if options.detectZeroes != .off, buffer.isZero {
            let zeroFlags = options.detectZeroes == .unmap ? flags.union(.mayUnmap) : flags
            return try await writeZeroes(range, flags: zeroFlags)
        }
        let alignment = driver.limits.requestAlignment
        let isAligned = range.isAligned(to: alignment)
        guard tracksRequests else {
            return try await finishingWrite(range) { () async throws(Errno) in
                try await self.writeAligned(range, from: buffer, flags: flags)
            }
        }
        let token = await tracker.begin(
            range.aligned(outwardTo: alignment), exclusive: !isAligned || flags.contains(.serialising))
        defer { tracker.end(token) }
        try await finishingWrite(range) { () async throws(Errno) in
            if isAligned {
                try await self.writeAligned(range, from: buffer, flags: flags)
            } else {
                try await self.readModifyWrite(range, from: buffer, flags: flags)
            }
        }
    }

    /// Does what comes before and after each change of the range: debug events, threshold, bitmaps, counters.
    func finishingWrite(
        _ range: ByteRange, _ body: () async throws(Errno) -> Void
    ) async throws(Errno) {
        if let (threshold, amount) = statistics.passThreshold(upTo: range.upperBound) {
            graph.report(.writeThreshold(node: self, threshold: threshold, amountExceeded: amount))
        }
        defer {
            statistics.noteWrite(upTo: range.upperBound)
            bitmaps.markDirty(range, diskLength: driver.length)
        }
        try await body()
        if let sink = driver.debugEventSink { await sink.debugEvent(.pwritevDone) }
    }

    /// Writes an aligned range in pieces that the driver takes.
    func writeAligned(_ range: ByteRange, from buffer: IOBuffer, flags: WriteFlags) async throws(Errno) {
        let driver = driver
        let limits = driver.limits
        if let sink = driver.debugEventSink { await sink.debugEvent(.pwritev) }
        let driverFlags = flags.intersection(driver.supportedWriteFlags)
        if !buffer.isAligned(to: limits.memoryAlignment) {
            let bounce = BufferPool.shared.take(count: buffer.count)
            defer { BufferPool.shared.give(bounce) }
            bounce.copy(from: buffer)
            try await writePieces(range, from: bounce, flags: driverFlags, limit: limits.maximumTransfer)
        } else {
            try await writePieces(range, from: buffer, flags: driverFlags, limit: limits.maximumTransfer)
        }
        if flags.contains(.forceUnitAccess), !driverFlags.contains(.forceUnitAccess) {
            statistics.noteChange()
            try await flush()
        }
    }

    private func writePieces(
        _ range: ByteRange, from buffer: IOBuffer, flags: WriteFlags, limit: Int64
    ) async throws(Errno) {
        if range.length <= limit { return try await driver.write(range, from: buffer, flags: flags) }
        for piece in range.pieces(ofAtMost: limit) {
            let start = Int(piece.lowerBound - range.lowerBound)
            try await driver.write(piece, from: buffer[start..<start + Int(piece.length)], flags: flags)
        }
    }

    /// Writes an unaligned range: reads the blocks at its ends, and writes the whole. The request is exclusive.
    private func readModifyWrite(_ range: ByteRange, from buffer: IOBuffer, flags: WriteFlags) async throws(Errno) {
        let padded = range.aligned(outwardTo: driver.limits.requestAlignment)
        let bounce = BufferPool.shared.take(count: Int(padded.length))
        defer { BufferPool.shared.give(bounce) }
        try await readEnds(of: padded, around: range, into: bounce)
        let start = Int(range.lowerBound - padded.lowerBound)
        bounce[start..<start + buffer.count].copy(from: buffer)
        try await writeAligned(padded, from: bounce, flags: flags)
    }

    /// Reads the first and the last block of `padded` where `range` does not cover them.
    private func readEnds(
        of padded: ByteRange, around range: ByteRange, into bounce: IOBuffer
    ) async throws(Errno) {
        let alignment = driver.limits.requestAlignment
        let sink = driver.debugEventSink
        let hasHead = padded.lowerBound < range.lowerBound
        let hasTail = padded.upperBound > range.upperBound
        if hasHead {
            await sink?.debugEvent(.pwritevRMWHead)
            let head = padded.lowerBound..<padded.lowerBound + alignment
            try await readPadded(head, into: bounce[0..<Int(alignment)])
            await sink?.debugEvent(.pwritevRMWAfterHead)
        }
        if hasTail, !hasHead || padded.length > alignment {
            await sink?.debugEvent(.pwritevRMWTail)
            let tail = padded.upperBound - alignment..<padded.upperBound
            try await readPadded(tail, into: bounce[bounce.count - Int(alignment)..<bounce.count])
            await sink?.debugEvent(.pwritevRMWAfterTail)
        }
    }
}
