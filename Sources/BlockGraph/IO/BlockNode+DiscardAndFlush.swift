import IOLoop

extension BlockNode {
    /// Tells that the range is no longer needed. Without `discard: unmap` nothing happens.
    ///
    /// Only the blocks that lie within the range whole are discarded. A driver that cannot discard is no error.
    /// EPERM: the node is read-only.
    public func discard(_ range: ByteRange) async throws(Errno) {
        guard !isReadOnly else { throw .EPERM }
        guard options.discard == .unmap, !range.isEmpty else { return }
        let limits = driver.limits
        let inner = range.aligned(inwardTo: max(limits.requestAlignment, limits.discardAlignment))
        guard !inner.isEmpty else { return }
        let token = tracksRequests ? await tracker.begin(inner, exclusive: false) : nil
        defer { if let token { tracker.end(token) } }
        defer {
            statistics.noteChange()
            bitmaps.markDirty(range)
        }
        do {
            for piece in inner.pieces(ofAtMost: limits.maximumDiscard) { try await driver.discard(piece) }
        } catch Errno.ENOTSUP {
            return
        }
    }

    /// Makes durable what has been written by requests that have returned.
    ///
    /// With `cache.no-flush` on a node without children nothing is done; nor where nothing was written since the last time.
    public func flush() async throws(Errno) {
        guard !isReadOnly else { return }
        let driver = driver
        let generation = statistics.changeGeneration
        if driver.isProtocol, options.cacheNoFlush || !statistics.hasChanged(sinceFlushOf: generation) { return }
        if let sink = driver.debugEventSink {
            await sink.debugEvent(.flushToOS)
            await sink.debugEvent(.flushToDisk)
        }
        try await driver.flush()
        statistics.noteFlush(of: generation)
    }
}
