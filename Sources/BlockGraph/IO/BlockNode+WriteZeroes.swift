import IOLoop

extension BlockNode {
    /// The most zeroes that are written from memory at a time, in bytes.
    private static let zeroBufferSize: Int64 = 1 << 20

    /// Makes the range read as zeroes. With `mayUnmap` it may be deallocated, where the node's `discard` option allows.
    ///
    /// ENOTSUP: `noFallback` was given, and there is no quicker way than writing the zeroes. EPERM: the node is read-only.
    public func writeZeroes(_ range: ByteRange, flags: WriteFlags = []) async throws(Errno) {
        guard !isReadOnly else { throw .EPERM }
        guard !range.isEmpty else { return }
        var flags = flags
        if options.discard == .ignore { flags.remove(.mayUnmap) }
        let alignment = driver.limits.requestAlignment
        let isAligned = range.isAligned(to: alignment)
        if isAligned, !tracksRequests {
            return try await finishingWrite(range) { [flags] () async throws(Errno) in
                try await self.zeroAligned(range, flags: flags)
            }
        }
        let token = await tracker.begin(
            range.aligned(outwardTo: alignment), exclusive: !isAligned || flags.contains(.serialising))
        defer { tracker.end(token) }
        try await finishingWrite(range) { [flags] () async throws(Errno) in
            if isAligned {
                try await self.zeroAligned(range, flags: flags)
            } else {
                try await self.zeroUnaligned(range, flags: flags)
            }
        }
    }

    /// Zeroes the whole blocks of the range at once, and the parts at its ends by read, change and write.
    private func zeroUnaligned(_ range: ByteRange, flags: WriteFlags) async throws(Errno) {
        let alignment = driver.limits.requestAlignment
        let inner = range.aligned(inwardTo: alignment)
        guard !inner.isEmpty else {
            // Nothing is quicker than writing a part of a block.
            guard !flags.contains(.noFallback) else { throw .ENOTSUP }
            // The range lies within one block, or takes a part of each of two.
            var start = range.lowerBound
            while start < range.upperBound {
                let end = min(range.upperBound, start.alignedDown(to: alignment) + alignment)
                try await zeroWithinBlock(start..<end, flags: flags)
                start = end
            }
            return
        }
        // First, as it may fail before anything is changed.
        try await zeroAligned(inner, flags: flags)
        if range.lowerBound < inner.lowerBound {
            try await zeroWithinBlock(range.lowerBound..<inner.lowerBound, flags: flags)
        }
        if inner.upperBound < range.upperBound {
            try await zeroWithinBlock(inner.upperBound..<range.upperBound, flags: flags)
        }
    }

    /// Zeroes a part of one block by reading, changing and writing it.
    private func zeroWithinBlock(_ range: ByteRange, flags: WriteFlags) async throws(Errno) {
        let driver = driver
        let padded = range.aligned(outwardTo: driver.limits.requestAlignment)
        let bounce = BufferPool.shared.take(count: Int(padded.length))
        defer { BufferPool.shared.give(bounce) }
        try await readPadded(padded, into: bounce)
        let start = Int(range.lowerBound - padded.lowerBound)
        bounce[start..<start + Int(range.length)].fill(0)
        try await driver.write(padded, from: bounce, flags: flags.intersection(driver.supportedWriteFlags))
        try await flushIfAsked(flags, supported: driver.supportedWriteFlags)
    }

    /// Zeroes an aligned range, cut where the driver's efficient alignment and its limit ask for it.
    func zeroAligned(_ range: ByteRange, flags: WriteFlags) async throws(Errno) {
        let driver = driver
        let limits = driver.limits
        if let sink = driver.debugEventSink { await sink.debugEvent(.pwritevZero) }
        let inner = range.aligned(inwardTo: limits.writeZeroesAlignment)
        var wasFallback = false
        if inner.isEmpty {
            wasFallback = try await zeroPiece(range, flags: flags)
        } else {
            if range.lowerBound < inner.lowerBound {
                wasFallback = try await zeroPiece(range.lowerBound..<inner.lowerBound, flags: flags)
            }
            for piece in inner.pieces(ofAtMost: limits.maximumWriteZeroes) {
                let fellBack = try await zeroPiece(piece, flags: flags)
                wasFallback = wasFallback || fellBack
            }
            if inner.upperBound < range.upperBound {
                let fellBack = try await zeroPiece(inner.upperBound..<range.upperBound, flags: flags)
                wasFallback = wasFallback || fellBack
            }
        }
        try await flushIfAsked(flags, supported: wasFallback ? [] : driver.supportedZeroFlags)
    }

    /// Zeroes a piece through the driver, or else by writing zeroes; true in the second case.
    private func zeroPiece(_ range: ByteRange, flags: WriteFlags) async throws(Errno) -> Bool {
        let driver = driver
        do {
            let passed = flags.intersection(driver.supportedZeroFlags.union([.mayUnmap, .noFallback]))
            try await driver.writeZeroes(range, flags: passed)
            return false
        } catch Errno.ENOTSUP {
            guard !flags.contains(.noFallback) else { throw .ENOTSUP }
        }
        let limits = driver.limits
        let size = min(
            range.length, min(limits.maximumTransfer, Self.zeroBufferSize.alignedUp(to: limits.requestAlignment)))
        let zeroes = BufferPool.shared.take(count: Int(size))
        defer { BufferPool.shared.give(zeroes) }
        zeroes.fill(0)
        for piece in range.pieces(ofAtMost: size) {
            try await driver.write(piece, from: zeroes[0..<Int(piece.length)], flags: [])
        }
        return true
    }

    /// Flushes where `forceUnitAccess` is asked for and the driver has not seen to it.
    private func flushIfAsked(_ flags: WriteFlags, supported: WriteFlags) async throws(Errno) {
        guard flags.contains(.forceUnitAccess), !supported.contains(.forceUnitAccess) else { return }
        statistics.noteChange()
        try await flush()
    }
}
