import IOLoop

/// Copying data of backing images into an overlay.
extension BlockNode {
    /// The most bytes that are copied up at a time, unless the units of allocation are larger.
    public static let copyUpSize: Int64 = 1 << 20

    /// The units in which the node allocates space, in bytes.
    private var allocationUnit: Int64 { max(driver.limits.writeZeroesAlignment, driver.limits.requestAlignment) }

    /// Has requests to the node wait for `copyUp` of the same range, from now on. In a drained section.
    @GraphActor public func trackRequests() { tracksRequests = true }

    /// Copies into this node what a range shows of the layers below it, down to the one above `base` (nil: of all). Zeroes become
    /// zeroes, and what is in the node already stays. On return the node has all of the range that any of the layers has.
    ///
    /// What readers see does not change. Other requests to the node wait, or are waited for, where they overlap:
    /// `trackRequests` has been called. Whole units of allocation are copied.
    /// EPERM: the node is read-only. `isRead`: the layers below could not be read; otherwise the node could not be written.
    public func copyUp(_ range: ByteRange, above base: BlockNode?) async throws(CopyUpError) {
        let unit = allocationUnit
        let length = driver.length
        let whole = range.aligned(outwardTo: unit)
        let pieces = (whole.lowerBound..<min(whole.upperBound, length)).pieces(
            ofAtMost: Self.copyUpSize.alignedUp(to: unit))
        for piece in pieces {
            let token = await tracker.begin(piece, exclusive: true)
            defer { tracker.end(token) }
            try await copyUpAlone(piece, above: base)
        }
    }

    /// Copies a range that nobody else uses at the same time.
    private func copyUpAlone(_ range: ByteRange, above base: BlockNode?) async throws(CopyUpError) {
        var start = range.lowerBound
        while start < range.upperBound {
            let run: LayerRun
            do {
                run = try await layerRun(start..<range.upperBound, above: base)
            } catch {
                throw CopyUpError(errno: error, isRead: true)
            }
            let part = start..<start + run.length
            if run.place == .below { try await copyUp(part, isZero: run.isZero) }
            start = part.upperBound
        }
    }

    private func copyUp(_ range: ByteRange, isZero: Bool) async throws(CopyUpError) {
        guard !isReadOnly else { throw CopyUpError(errno: .EPERM, isRead: false) }
        if isZero { return try await writeUp(range, nil) }
        let buffer = BufferPool.shared.take(count: Int(range.length))
        defer { BufferPool.shared.give(buffer) }
        do {
            try await readPadded(range, into: buffer)
        } catch {
            throw CopyUpError(errno: error, isRead: true)
        }
        try await writeUp(range, buffer.isZero ? nil : buffer)
    }

    /// Writes what readers saw there before, nil for zeroes: dirty bitmaps do not hear of it.
    private func writeUp(_ range: ByteRange, _ buffer: IOBuffer?) async throws(CopyUpError) {
        defer { statistics.noteWrite(upTo: range.upperBound) }
        do {
            if let buffer {
                try await writeAligned(range, from: buffer, flags: .unchanged)
            } else {
                try await zeroAligned(range, flags: .unchanged)
            }
        } catch {
            throw CopyUpError(errno: error, isRead: false)
        }
    }
}

/// Why data could not be copied up.
public struct CopyUpError: Error, Hashable, Sendable {
    /// The error of the request.
    public let errno: Errno
    /// Whether that was a read.
    public let isRead: Bool

    /// An error with its parts.
    public init(errno: Errno, isRead: Bool) {
        self.errno = errno
        self.isRead = isRead
    }
}
