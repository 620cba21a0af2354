import BlockGraph
import IOLoop
import Synchronization

/// The guest's side: what reaches the filter from above.
extension CopyBeforeWriteDriver {
    public func read(_ range: ByteRange, into buffer: IOBuffer) async throws(Errno) {
        try await source.node.read(range, into: buffer)
    }

    public func write(_ range: ByteRange, from buffer: IOBuffer, flags: WriteFlags) async throws(Errno) {
        if !flags.contains(.unchanged) { try await copyBeforeWrite(range) }
        try await source.node.write(range, from: buffer, flags: flags)
    }

    public func writeZeroes(_ range: ByteRange, flags: WriteFlags) async throws(Errno) {
        if !flags.contains(.unchanged) { try await copyBeforeWrite(range) }
        try await source.node.writeZeroes(range, flags: flags)
    }

    public func discard(_ range: ByteRange) async throws(Errno) {
        try await copyBeforeWrite(range)
        try await source.node.discard(range)
    }

    /// Flushes both children. A target that cannot be flushed fails what `on-cbw-error` says.
    public func flush() async throws(Errno) {
        if flushesSource { try await source.node.flush() }
        await state.arrivals.waitUntilFree(0..<max(state.length, 1))
        do {
            try await target.node.flush()
        } catch {
            guard configuration.onError == .breakSnapshot else { throw error }
            state.breakSnapshot(error)
        }
    }

    public func blockStatus(_ range: ByteRange, precision: BlockStatusPrecision) async throws(Errno) -> BlockStatus {
        try await source.node.blockStatus(range, precision: precision)
    }

    /// Sees to it that the range may be overwritten: its old data are in the target, or nobody wants them any more, and
    /// nobody is reading them. Errors: the copy failed, and guest writes are what is to break then.
    ///
    /// - Parameter mayDelay: whether old data may be in memory still on return, where the filter delays at all.
    func copyBeforeWrite(_ range: ByteRange, mayDelay: Bool = true) async throws(Errno) {
        let clusters = state.clusters(touching: range)
        guard !clusters.isEmpty else { return }
        do {
            switch nextStep(for: clusters) {
            case .proceed: break
            case let step where configuration.timeout == 0:
                try await copyClusters(clusters, from: step, mayDelay: mayDelay)
            case let step: try await copyClustersInTime(clusters, from: step)
            }
        } catch {
            guard configuration.onError == .breakSnapshot else { throw error }
            state.breakSnapshot(error)
        }
        await state.reads.waitUntilFree(clusters)
    }

    private func nextStep(for clusters: ByteRange) -> SnapshotState.WriteStep {
        state.nextStep(for: clusters, count: Self.concurrency, limit: Self.maximumCopy)
    }

    /// Copies what must be copied of the clusters, and waits for what others copy, beginning with a step taken already.
    private func copyClusters(
        _ clusters: ByteRange, from first: SnapshotState.WriteStep, mayDelay: Bool
    ) async throws(Errno) {
        var step = first
        while true {
            switch step {
            case .proceed: return
            case .wait: await state.copies.waitUntilFree(clusters)
            case .copy(let claimed, let more) where more.isEmpty:
                try await copy(claimed, mayDelay: mayDelay)
                if claimed.area == clusters { return }
            case .copy(let claimed, let more):
                try await concurrently([claimed] + more, limit: Self.concurrency) { (claimed) async throws(Errno) in
                    try await self.copy(claimed, mayDelay: mayDelay)
                }
            }
            step = nextStep(for: clusters)
        }
    }

    /// Copies, but waits no longer than `cbw-timeout`. A copy that takes longer goes on by itself. ETIMEDOUT: time is up.
    private func copyClustersInTime(
        _ clusters: ByteRange, from first: SnapshotState.WriteStep
    ) async throws(Errno) {
        let race = FirstResult()
        await background.enter()
        _ = Task(executorPreference: IOLoop.current ?? .main) {
            var result: Errno?
            do throws(Errno) {
                try await self.copyClusters(clusters, from: first, mayDelay: false)
            } catch {
                result = error
            }
            race.finish(with: result)
            self.background.leave()
        }
        let timer = Task(executorPreference: IOLoop.current ?? .main) {
            try? await self.sleep(.seconds(Int64(self.configuration.timeout)))  // Cancelled where the copy was in time.
            if !Task.isCancelled { race.finish(with: .ETIMEDOUT) }
        }
        let result = await race.value()
        timer.cancel()
        if let result { throw result }
    }

    /// Copies one area from the source to the target, or to memory on its way there; holes stay holes.
    private func copy(_ claimed: SnapshotState.ClaimedArea, mayDelay: Bool) async throws(Errno) {
        await copySlots.wait()
        copiesUnderWay.wrappingAdd(1, ordering: .relaxed)
        defer {
            copiesUnderWay.wrappingSubtract(1, ordering: .relaxed)
            copySlots.signal()
        }
        if mayDelay, let delays = delays(for: claimed.area) {
            return try await copyToMemory(claimed, for: delays)
        }
        var succeeded = false
        defer { state.finishCopy(claimed.area, claimed.token, succeeded: succeeded) }
        for piece in claimed.area.pieces(ofAtMost: Self.maximumCopy) { try await copy(piece) }
        succeeded = true
    }

    private func copy(_ piece: ByteRange) async throws(Errno) {
        var buffer = BufferPool.shared.take(count: Int(piece.length))
        defer { BufferPool.shared.give(buffer) }
        try checkTarget(piece)
        buffer.urgency = urgency
        try await source.node.read(piece, into: buffer)
        buffer.urgency = urgency
        try await target.node.writeOldData(piece, from: buffer, flags: copyFlags)
    }

    /// How soon what copies do is wanted: at once where few are under way. Many are better shared with workers of the kernel.
    private var urgency: IOUrgency {
        copiesUnderWay.load(ordering: .relaxed) <= Self.fewCopies ? .prompt : .usual
    }

    /// EIO: the target is too short; the filter may not make it longer.
    private func checkTarget(_ range: ByteRange) throws(Errno) {
        guard range.upperBound <= target.node.length else { throw .EIO }
    }

    /// Who writes the old data of an area later, with room reserved there; nil where they must be in the target at once, as
    /// somebody else may look there, or as too many wait already.
    private func delays(for area: ByteRange) -> DelayedWriter? {
        guard let delayedWriter, area.length <= Self.maximumCopy, !target.node.isShared,
            delayedWriter.reserve(area.length)
        else { return nil }
        return delayedWriter
    }

    /// Reads an area, for which room is reserved, and leaves the rest to the writer.
    private func copyToMemory(
        _ claimed: SnapshotState.ClaimedArea, for writer: DelayedWriter
    ) async throws(Errno) {
        var buffer = BufferPool.shared.take(count: Int(claimed.area.length))
        do throws(Errno) {
            try checkTarget(claimed.area)
            buffer.urgency = urgency
            try await source.node.read(claimed.area, into: buffer)
        } catch {
            BufferPool.shared.give(buffer)
            writer.release(claimed.area.length)
            state.finishCopy(claimed.area, claimed.token, succeeded: false)
            throw error
        }
        await writer.add(claimed, in: buffer)
        // The write has its turn first: what fails at once has broken the point in time when the guest hears of its write.
        await Task.yield()
    }
}
