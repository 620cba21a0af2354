import IOLoop

extension BlockNode {
    /// Reads the range into the buffer, which has its length. Bytes beyond the end of the node read as zeroes.
    ///
    /// Errors are those of the drivers below.
    public func read(_ range: ByteRange, into buffer: IOBuffer) async throws(Errno) {
        guard !range.isEmpty else { return }
        guard tracksRequests else { return try await readPadded(range, into: buffer) }
        let token = await tracker.begin(
            range.aligned(outwardTo: driver.limits.requestAlignment), exclusive: false)
        defer { tracker.end(token) }
        try await readPadded(range, into: buffer)
    }

    /// Reads with whatever alignment; the request is tracked already where that is needed.
    func readPadded(_ range: ByteRange, into buffer: IOBuffer) async throws(Errno) {
        let driver = driver
        let limits = driver.limits
        let alignment = limits.requestAlignment
        let end = driver.length.alignedUp(to: alignment)
        guard range.upperBound <= end else { return try await readAcrossEnd(range, into: buffer, end: end) }
        if range.isAligned(to: alignment), buffer.isAligned(to: limits.memoryAlignment) {
            return try await readAligned(range, into: buffer, limits: limits)
        }
        let padded = range.aligned(outwardTo: alignment)
        let bounce = BufferPool.shared.take(count: Int(padded.length))
        defer { BufferPool.shared.give(bounce) }
        try await readAligned(padded, into: bounce, limits: limits)
        let start = Int(range.lowerBound - padded.lowerBound)
        buffer.copy(from: bounce[start..<start + buffer.count])
    }

    /// Reads what lies before the end, and fills the rest of the buffer with zeroes.
    private func readAcrossEnd(_ range: ByteRange, into buffer: IOBuffer, end: Int64) async throws(Errno) {
        let inside = Int(max(0, end - range.lowerBound))
        buffer[inside..<buffer.count].fill(0)
        guard inside > 0 else { return }
        try await readPadded(range.lowerBound..<end, into: buffer[0..<inside])
    }

    /// Reads an aligned range in pieces that the driver takes.
    private func readAligned(_ range: ByteRange, into buffer: IOBuffer, limits: BlockLimits) async throws(Errno) {
        if range.length <= limits.maximumTransfer { return try await driver.read(range, into: buffer) }
        for piece in range.pieces(ofAtMost: limits.maximumTransfer) {
            let start = Int(piece.lowerBound - range.lowerBound)
            try await driver.read(piece, into: buffer[start..<start + Int(piece.length)])
        }
    }
}

extension IOBuffer {
    /// Whether the memory begins at a multiple of `alignment` (1 or more).
    func isAligned(to alignment: Int) -> Bool { alignment == 1 || UInt(bitPattern: base) % UInt(alignment) == 0 }
}
