import BlockDrivers
import BlockGraph
import IOLoop

/// What has to be copied at first.
extension MirrorJob {
    /// Marks what has to be copied.
    func findDifferences(_ job: Job) async throws(BlockError) {
        switch options.sync {
        case .none: return
        case .full:
            if options.targetIsZero {
                link.map.noteTargetIsZero()
            } else if await targetIsZero() {
                link.map.noteTargetIsZero()
            } else {
                link.map.markDirty(0..<source.length)
                return
            }
            try await markAllocated(job, above: nil)
        case .top: try await markAllocated(job, above: source.belowFilters.driver.backingChild?.node)
        case .aboveTarget: try await markAllocated(job, above: target)
        }
    }

    /// Marks what is allocated in the layers of the source above `base`, nil for all layers.
    private func markAllocated(_ job: Job, above base: BlockNode?) async throws(BlockError) {
        var offset: Int64 = 0
        var turns = 0
        while offset < source.length, !job.isCancelled {
            await job.pausePoint()
            do {
                await beginRequests()
                defer { endRequests() }
                let rest = offset..<source.length
                let (status, _) = try await source.blockStatusAbove(base: base, rest, precision: .allocation)
                guard status.length > 0 else { break }
                let end = offset + status.length
                if status.isAllocated { link.map.markDirty(offset..<end) }
                offset = end
            } catch {
                throw BlockError(error.description, errno: error)
            }
            turns += 1
            if turns % 64 == 0 { await Task.yield() }
        }
    }

    /// Whether the target is known to read as zeroes throughout. A few bytes at its start are looked at: some programs write
    /// them into new images.
    private func targetIsZero() async -> Bool {
        await beginRequests()
        defer { endRequests() }
        var offset: Int64 = 0
        while offset < target.length {
            guard let (status, _) = try? await target.blockStatusAbove(base: nil, offset..<target.length),
                status.length > 0
            else { return false }
            if !status.isZero {
                guard offset == 0, status.length <= Self.inspectedHead, await headIsZero(status.length) else {
                    return false
                }
            }
            offset += status.length
        }
        return true
    }

    private func headIsZero(_ length: Int64) async -> Bool {
        let buffer = BufferPool.shared.take(count: Int(length))
        defer { BufferPool.shared.give(buffer) }
        do {
            try await target.read(0..<length, into: buffer)
        } catch {
            return false
        }
        return buffer.isZero
    }

    /// The most bytes at the start of the target that are read to find out whether they are zero.
    private static let inspectedHead: Int64 = 65536
}
