import BlockGraph
import IOLoop
import Synchronization

/// Copies what a copy-before-write filter keeps for its point in time, without waiting for guest writes: what a backup does.
///
/// Tasks call `copyNext` over and over, as many at a time as there are to be requests. Each cluster is copied once, by one of
/// them or for a guest write.
///
/// What is to be copied still has not changed since the point in time. So the status of a run, once known, holds for all
/// that is still to be copied of it; runs are asked for in order, ahead of the copies.
public final class BackgroundCopy: Sendable {
    /// What became of a step.
    public enum Step: Sendable {
        /// So many bytes have been copied.
        case copied(Int64)
        /// Nothing is left to be begun. Copies of others may be under way still, and may fail.
        case finished
        /// A copy failed; what it was for is to be copied still.
        case failed(Errno, isRead: Bool)
        /// The point in time broke, for this reason: there is nothing more to be had.
        case broken(Errno)
    }

    private struct Plan {
        /// Where to look for more.
        var cursor: Int64 = 0
        /// The run whose status is known.
        var run: Run?
        /// The bytes of data, zeroes not counted, that are being copied.
        var inFlight: Int64 = 0
    }

    /// A part of the disk whose bytes are all of one kind.
    private struct Run {
        let range: ByteRange
        let isZero: Bool
    }

    private let filter: CopyBeforeWriteDriver
    private let maximumChunk: Int64
    private let plan = Mutex(Plan())
    /// Held by the task that looks for the next run.
    private let search = AsyncMutex()

    /// Notified when a copy of data ends.
    private let room = WaitQueue()

    /// While so many bytes of data are being copied no more are begun: what has been read is to be written while the processor
    /// has it in its caches.
    private static let mostInFlight: Int64 = 8 << 20
    /// The most bytes of one write of zeroes.
    private static let maximumZeroes: Int64 = 1 << 30

    /// Copies for a filter of a job. Before the first request to it.
    ///
    /// - Parameters:
    ///   - bits: what is to be copied; nil for everything.
    ///   - maximumChunk: the most bytes of one copy, but at least a cluster; 0 for the usual number.
    public init(_ filter: CopyBeforeWriteDriver, of bits: HierarchicalBitmap? = nil, maximumChunk: Int64 = 0) {
        self.filter = filter
        self.maximumChunk = maximumChunk
        if let bits { filter.state.restrictCopy(to: bits) }
    }

    private var state: SnapshotState { filter.state }
    private var source: BlockNode { filter.source.node }
    private var target: BlockNode { filter.target.node }

    /// The bytes, in whole clusters, that have been copied, for guest writes as well, and that will have been.
    public var progress: (copied: Int64, total: Int64) { state.progress }
    /// Whether nothing is left to be copied, and no copy is under way.
    public var isComplete: Bool { state.progress.copied == state.progress.total }
    /// The bytes of a cluster: the least that is copied.
    public var clusterSize: Int64 { state.clusterSize }
    /// What broke the point in time; nil where it is whole.
    public var error: Errno? { state.error }
    /// Has `observer` called, from any thread, when the point in time breaks.
    public func observeBreak(_ observer: @escaping @Sendable () -> Void) { state.observeBreak(observer) }
    /// What is to be copied still.
    public var remainder: HierarchicalBitmap { state.copy.snapshot() }

    /// Copies the next area.
    ///
    /// - Parameters:
    ///   - backend: whose requests the copy counts as, so that drained sections stop it.
    ///   - limit: the most bytes, but for zeroes; rounded up to a cluster.
    ///   - zeroLimit: the most bytes of zeroes.
    public func copyNext(through backend: BlockBackend?, limit: Int64 = .max, zeroLimit: Int64 = .max) async -> Step {
        // Nothing may be claimed while a drained section holds the copy back.
        await passing(backend) { await self.copyNext(limit: limit, zeroLimit: zeroLimit) }
    }

    /// Has `copyNext` look from the beginning again: copies that failed have brought their areas back.
    public func rewind() { plan.withLock { $0.cursor = 0 } }

    /// Returns when the copies that are under way now have ended, those for guest writes.
    public func waitForOthers() async { await state.copies.waitUntilFree(0..<max(state.length, 1)) }

    /// Flushes the target; the error, if there is one.
    public func flushTarget(through backend: BlockBackend?) async -> Errno? {
        await passing(backend) { () async -> Errno? in
            do throws(Errno) {
                try await self.target.flush()
                return nil
            } catch {
                return error
            }
        }
    }

    private func passing<Result>(_ backend: BlockBackend?, _ body: () async -> Result) async -> Result {
        guard let backend else { return await body() }
        return await backend.perform(body)
    }

    private func copyNext(limit: Int64, zeroLimit: Int64) async -> Step {
        let found: (claimed: SnapshotState.ClaimedArea, isZero: Bool)
        do throws(Errno) {
            guard let next = try await claimNext(limit: limit, zeroLimit: zeroLimit) else { return .finished }
            found = next
        } catch {
            return .broken(error)
        }
        let area = found.claimed.area
        defer { if !found.isZero { leaveRoom(area.length) } }
        do throws(CopyFailure) {
            try await copy(area, isZero: found.isZero)
        } catch {
            state.finishCopy(area, found.claimed.token, succeeded: false)
            return .failed(error.errno, isRead: error.isRead)
        }
        let discards = filter.configuration.job?.discardsSource == true
        if discards { try? await source.discard(area) }  // It only saves space.
        state.finishCopy(area, found.claimed.token, succeeded: true, setsDone: discards)
        return .copied(area.length)
    }

    /// Takes clusters out of what is to be copied of which the topmost image of the source has nothing.
    /// Returns where to go on; nil at the end. An error counts as something.
    public func dropUnallocated(from offset: Int64, through backend: BlockBackend?) async -> Int64? {
        await passing(backend) { await self.dropUnallocated(from: offset) }
    }

    private func dropUnallocated(from offset: Int64) async -> Int64? {
        guard let start = state.nextToCopy(from: offset) else { return nil }
        let range = start..<state.length
        let base = source.topmostImage.driver.backingChild?.node
        guard
            let (status, depth) = try? await source.blockStatusAbove(base: base, range, precision: .allocation),
            status.length > 0
        else { return min(start.alignedDown(to: state.clusterSize) + state.clusterSize, state.length) }
        let end = start + status.length
        if depth == 0 { state.dropFromCopy(start..<end) }
        // A cluster that the run ends within is looked at from its beginning by what follows, and stays where it has something.
        let next = end >= state.length ? end : max(end.alignedDown(to: state.clusterSize), start)
        if depth > 0 || next == start {
            return min(end.alignedUp(to: state.clusterSize), state.length)
        }
        return next
    }

    // MARK: Runs

    private func claimNext(
        limit: Int64, zeroLimit: Int64
    ) async throws(Errno) -> (claimed: SnapshotState.ClaimedArea, isZero: Bool)? {
        await search.lock()
        defer { search.unlock() }
        while true {
            guard let start = state.nextToCopy(from: plan.withLock { $0.cursor }) else {
                if let error = state.error { throw error }
                return nil
            }
            let run = await run(at: start)
            if !run.isZero { await waitForRoom() }
            let most = run.isZero ? min(zeroLimit, Self.maximumZeroes) : min(limit, CopyBeforeWriteDriver.maximumCopy)
            let limit = maximumChunk > 0 ? min(most, maximumChunk) : most
            let wholeClusters = max(limit.alignedDown(to: state.clusterSize), state.clusterSize)
            // The search ends at the run's end, as the next run is of another kind.
            guard let claimed = try state.claimFirst(in: start..<run.range.upperBound, limit: wholeClusters) else {
                plan.withLock { $0.cursor = run.range.upperBound }
                continue
            }
            plan.withLock { plan in
                plan.cursor = claimed.area.upperBound
                if !run.isZero { plan.inFlight += claimed.area.length }
            }
            return (claimed, run.isZero)
        }
    }

    private func waitForRoom() async {
        await room.wait(until: { plan.withLock { $0.inFlight < Self.mostInFlight } })
    }

    private func leaveRoom(_ length: Int64) {
        plan.withLock { $0.inFlight -= length }
        room.notifyAll()
    }

    /// The rest of the run that an offset, the beginning of a cluster, lies in; in whole clusters.
    private func run(at offset: Int64) async -> Run {
        if let known = plan.withLock({ $0.run }), known.range.contains(offset) { return known }
        let rest = offset..<state.length
        let cluster = state.clusterSize
        var run = Run(range: offset..<min(offset + cluster, state.length), isZero: false)
        // What cannot be told counts as data: reading shows what is wrong.
        if let (status, _) = try? await source.blockStatusAbove(base: nil, rest), status.length > 0 {
            let end = min(offset + status.length, state.length)
            let inner = end == state.length ? end : end.alignedDown(to: cluster)
            // A cluster that is not all zeroes is data.
            let outer = status.isZero ? inner : min(end.alignedUp(to: cluster), state.length)
            if outer > offset { run = Run(range: offset..<outer, isZero: status.isZero) }
        }
        plan.withLock { [run] in $0.run = run }
        return run
    }

    // MARK: One copy

    private struct CopyFailure: Error {
        let errno: Errno
        let isRead: Bool
    }

    private func copy(_ area: ByteRange, isZero: Bool) async throws(CopyFailure) {
        guard area.upperBound <= target.length else { throw CopyFailure(errno: .EIO, isRead: false) }
        if isZero {
            return try await writing { () async throws(Errno) in
                try await self.target.writeZeroes(
                    area, flags: self.filter.copyFlags.union([.mayUnmap, .leavingHoles]).subtracting(.compressed))
            }
        }
        let buffer = BufferPool.shared.take(count: Int(area.length))
        defer { BufferPool.shared.give(buffer) }
        do {
            try await source.read(area, into: buffer)
        } catch {
            throw CopyFailure(errno: error, isRead: true)
        }
        try await writing { () async throws(Errno) in
            try await self.target.write(area, from: buffer, flags: self.filter.copyFlags)
        }
    }

    private func writing(_ body: () async throws(Errno) -> Void) async throws(CopyFailure) {
        do throws(Errno) {
            try await body()
        } catch {
            throw CopyFailure(errno: error, isRead: false)
        }
    }
}

extension BlockNode {
    /// The first node down the chain of filters that is none.
    fileprivate var topmostImage: BlockNode {
        var node = self
        while let next = node.driver.filteredChild?.node { node = next }
        return node
    }
}
