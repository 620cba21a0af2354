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

    public func flush() async throws(Errno) {
        try await source.node.flush()
        try await target.node.flush()
    }

    public func blockStatus(_ range: ByteRange, precision: BlockStatusPrecision) async throws(Errno) -> BlockStatus {
        try await source.node.blockStatus(range, precision: precision)
    }

    /// Sees to it that the range may be overwritten: its old data are in the target, or nobody wants them any more, and
    /// nobody is reading them. Errors: the copy failed, and guest writes are what is to break then.
    private func copyBeforeWrite(_ range: ByteRange) async throws(Errno) {
        let clusters = state.clusters(touching: range)
        guard !clusters.isEmpty else { return }
        do {
            if configuration.timeout == 0 {
                try await copyClusters(clusters)
            } else {
                try await copyClustersInTime(clusters)
            }
        } catch {
            guard configuration.onError == .breakSnapshot else { throw error }
            state.breakSnapshot()
        }
        await state.reads.waitUntilFree(clusters)
    }

    /// Copies what must be copied of the clusters, and waits for what others copy.
    private func copyClusters(_ clusters: ByteRange) async throws(Errno) {
        while true {
            switch state.nextStep(for: clusters, count: Self.concurrency, limit: Self.maximumCopy) {
            case .proceed: return
            case .wait: await state.copies.waitUntilFree(clusters)
            case .copy(let areas):
                try await concurrently(
                    areas.map { ClaimedArea(area: $0.area, token: $0.token) }, limit: Self.concurrency
                ) {
                    (claimed) async throws(Errno) in
                    try await self.copy(claimed)
                }
            }
        }
    }

    /// Copies, but waits no longer than `cbw-timeout`. A copy that takes longer goes on by itself. ETIMEDOUT: time is up.
    private func copyClustersInTime(_ clusters: ByteRange) async throws(Errno) {
        let race = Race()
        await background.enter()
        let work = Task(executorPreference: IOLoop.required) {
            var result: Errno?
            do throws(Errno) { try await self.copyClusters(clusters) } catch { result = error }
            race.finish(with: result)
            self.background.leave()
        }
        let timer = Task(executorPreference: IOLoop.required) {
            try? await self.sleep(.seconds(Int64(self.configuration.timeout)))  // Cancelled where the copy was in time.
            if !Task.isCancelled { race.finish(with: .ETIMEDOUT) }
        }
        let result = await race.result()
        timer.cancel()
        _ = work
        if let result { throw result }
    }

    /// Copies one area from the source to the target; holes stay holes.
    private func copy(_ claimed: ClaimedArea) async throws(Errno) {
        var succeeded = false
        defer { state.finishCopy(claimed.area, claimed.token, succeeded: succeeded) }
        let buffer = BufferPool.shared.take(count: Int(claimed.area.length))
        defer { BufferPool.shared.give(buffer) }
        try await source.node.read(claimed.area, into: buffer)
        if buffer.isZero {
            try await target.node.writeZeroes(claimed.area, flags: .mayUnmap)
        } else {
            try await target.node.write(claimed.area, from: buffer)
        }
        succeeded = true
    }
}

/// An area that one guest write has taken upon itself to copy.
private struct ClaimedArea: Sendable {
    let area: ByteRange
    let token: RangeTracker.Token
}

/// Waits for the first of several results.
private final class Race: Sendable {
    private enum State {
        case running
        case waiting(UnsafeContinuation<Errno?, Never>)
        case finished(Errno?)
    }

    private let state = Mutex(State.running)

    /// Sets the result, unless there is one already.
    func finish(with result: Errno?) {
        let waiter = state.withLock { state -> UnsafeContinuation<Errno?, Never>? in
            switch state {
            case .running: state = .finished(result)
            case .waiting(let continuation):
                state = .finished(result)
                return continuation
            case .finished: break
            }
            return nil
        }
        waiter?.resume(returning: result)
    }

    /// The first result. Called once.
    func result() async -> Errno? {
        await withUnsafeContinuation { continuation in
            let finished = state.withLock { state -> Errno?? in
                if case .finished(let result) = state { return .some(result) }
                state = .waiting(continuation)
                return .none
            }
            if let finished { continuation.resume(returning: finished) }
        }
    }
}
