import BlockGraph
import IOLoop
import Synchronization

/// What a copy-before-write filter knows of its point in time, cluster by cluster. All changes are made in one step.
///
/// | state of a cluster | copy | access | done |
/// |---|---|---|---|
/// | untouched | set | set | |
/// | being copied | | set | |
/// | in the target, or on its way there from memory | | set | set |
/// | outside of the bitmap, or discarded | | | |
///
/// A cluster outside of the bitmap that was written has `done` set, too, which nobody reads.
///
/// Invariants: what is accessible and not done is unchanged in the source. A guest write begins only when all its clusters
/// are done or inaccessible, and no snapshot read of the source overlaps them.
final class SnapshotState: Sendable {
    /// The clusters that a guest write must have copied first.
    let copy: DirtyBitmap
    /// The clusters that snapshot reads may see.
    let access: DirtyBitmap
    /// The clusters that lie in the target, or in memory on their way there.
    let done: DirtyBitmap
    /// The size of a cluster in bytes.
    let clusterSize: Int64
    /// The length of the point in time in bytes.
    let length: Int64

    /// The copies under way.
    let copies = RangeTracker()
    /// The snapshot reads of the source under way, for which guest writes wait.
    let reads = RangeTracker()
    /// The snapshot reads of the target under way, for which discards of the target wait.
    let targetReads = RangeTracker()
    /// The old data on their way from memory to the target, for which discards and flushes of the target wait.
    let arrivals = RangeTracker()

    struct Account {
        /// What broke the point in time.
        var error: Errno?
        /// Who is told that it broke.
        var observer: (@Sendable () -> Void)?
        var isBroken: Bool { error != nil }
        /// What of the disk goes to the target before it is overwritten; nil for everything.
        var kept: HierarchicalBitmap?
        /// The granules, in bytes, that are being copied, and that have been.
        var inFlight: Int64 = 0
        var copied: Int64 = 0
        /// The old data in memory that are `done` but not in the target yet, in the order in which they came.
        var delayed: [DelayedCopy] = []

        /// Notes what broke the point in time, unless it is broken already; who is to be told of it then.
        mutating func breakOnce(_ error: Errno) -> (@Sendable () -> Void)? {
            guard !isBroken else { return nil }
            self.error = error
            return observer
        }
    }

    /// Guards every step over more than one of the above.
    let account = Mutex(Account())

    init(length: Int64, clusterSize: Int64, covering bitmap: DirtyBitmap?) {
        self.length = length
        self.clusterSize = clusterSize
        func makeBitmap() -> DirtyBitmap {
            DirtyBitmap(name: nil, length: length, granularity: clusterSize, recording: false)
        }
        (copy, done, access) = (makeBitmap(), makeBitmap(), makeBitmap())
        let covered = bitmap?.snapshot()
        for target in [copy, access] {
            target.withBits { bits in
                if let covered { bits.merge(covered) } else { bits.setAll() }
            }
        }
    }

    /// The clusters that a range touches, to the end of the point in time.
    func clusters(touching range: ByteRange) -> ByteRange {
        let wide = range.aligned(outwardTo: clusterSize)
        return min(wide.lowerBound, length)..<min(wide.upperBound, length)
    }

    /// An area that one guest write has taken upon itself to copy. It is to be given back with `finishCopy`.
    struct ClaimedArea: Sendable {
        let area: ByteRange
        let token: RangeTracker.Token
    }

    /// What a guest write has to do next.
    enum WriteStep: Sendable {
        /// Copy this area, under its token, and more where there is more; then ask again.
        case copy(ClaimedArea, more: [ClaimedArea])
        /// Wait for the copies of others in the range; then ask again.
        case wait
        /// Nothing: all is copied or out of the point in time.
        case proceed
    }

    /// Claims the next areas of the clusters that must be copied before they are written: at most `count`, of at most
    /// `limit` bytes each, but of one cluster at least.
    func nextStep(for clusters: ByteRange, count: Int, limit: Int64) -> WriteStep {
        account.withLock { account in
            guard !account.isBroken, !clusters.isEmpty else { return .proceed }
            // A part of a cluster cannot be claimed.
            let limit = max(limit, clusterSize)
            if let first = claimNext(in: clusters, limit: limit, &account) {
                var more: [ClaimedArea] = []
                var last = first
                while more.count + 1 < count, last.area.upperBound < clusters.upperBound,
                    let next = claimNext(in: last.area.upperBound..<clusters.upperBound, limit: limit, &account)
                {
                    more.append(next)
                    last = next
                }
                return .copy(first, more: more)
            }
            guard copies.isFree(clusters) else { return .wait }
            done.withBits { $0.set(clusters) }
            return .proceed
        }
    }

    /// Claims the first area in the range that must be copied.
    private func claimNext(in range: ByteRange, limit: Int64, _ account: inout Account) -> ClaimedArea? {
        let area = copy.withBits { bits -> ByteRange? in
            let area = bits.nextDirtyArea(from: range.lowerBound, to: range.upperBound, maxLength: limit)
            if let area { bits.reset(covering: area) }
            return area
        }
        return area.map { claim($0, &account) }
    }

    /// Registers the copy of an area whose bits in `copy` have been cleared.
    private func claim(_ area: ByteRange, _ account: inout Account) -> ClaimedArea {
        guard let token = copies.tryBegin(area, exclusive: true) else {
            preconditionFailure("a cluster is to be copied while it is being copied")
        }
        account.inFlight += granules(area)
        return ClaimedArea(area: area, token: token)
    }

    /// The length of the clusters that an area touches, the last one as a whole.
    func granules(_ area: ByteRange) -> Int64 { area.aligned(outwardTo: clusterSize).length }

    /// Claims the first area in the range that must be copied, of at most `limit` bytes but of one cluster at least, for a copy
    /// that no guest waits for. Nil: there is none. Error: what broke the point in time, where it is broken.
    func claimFirst(in range: ByteRange, limit: Int64) throws(Errno) -> ClaimedArea? {
        let claimed = account.withLock { account -> Result<ClaimedArea?, Errno> in
            if let error = account.error { return .failure(error) }
            return .success(claimNext(in: range, limit: max(limit, clusterSize), &account))
        }
        return try claimed.get()
    }

    /// The first byte at or behind `offset` that must be copied.
    func nextToCopy(from offset: Int64) -> Int64? { copy.withBits { $0.nextDirty(from: offset) } }

    /// Restricts what must be copied to what is dirty in the bits as well. Before the first copy.
    func restrictCopy(to bits: HierarchicalBitmap) {
        account.withLock { account in
            account.kept = copy.withBits { copy in
                copy.clear()
                copy.merge(bits)
                return copy
            }
        }
    }

    /// Takes clusters out of what must be copied: their data are not wanted in the target.
    func dropFromCopy(_ range: ByteRange) {
        account.withLock { account in
            var kept = account.kept ?? access.snapshot()
            kept.reset(contained: range)
            account.kept = kept
            copy.withBits { $0.reset(contained: range) }
        }
    }

    /// The bytes, in whole clusters, that have been copied, and that will have been.
    var progress: (copied: Int64, total: Int64) {
        account.withLock { account in
            let rest = copy.withBits { $0.dirtyByteCount }
            let (sum, overflow) = rest.addingReportingOverflow(account.copied + account.inFlight)
            return (account.copied, overflow ? .max : sum)
        }
    }

    /// What broke the point in time; nil where it is whole.
    var error: Errno? { account.withLock { $0.error } }

    /// Has `observer` called, from any thread, when the point in time breaks.
    func observeBreak(_ observer: @escaping @Sendable () -> Void) { account.withLock { $0.observer = observer } }

    /// Ends the copy of an area, which is in the target now, or else must be copied still. The bits and the token change
    /// in one step: who finds an area that must be copied finds no copy of it under way.
    func finishCopy(
        _ area: ByteRange, _ token: RangeTracker.Token, succeeded: Bool, setsDone: Bool = true
    ) {
        account.withLock { account in
            defer { copies.end(token) }
            account.inFlight -= granules(area)
            if succeeded {
                account.copied += granules(area)
                // What a job has copied is not counted as done, as long as the source has it as well.
                if setsDone { done.withBits { $0.set(area) } }
            } else {
                markToBeCopied(area)
            }
        }
    }

    /// Marks an area as to be copied, but for what was discarded meanwhile, which must not come back. Under the lock.
    func markToBeCopied(_ area: ByteRange) {
        let accessible = access.withBits { Array($0.dirtyAreas(in: area)) }
        copy.withBits { bits in for part in accessible { bits.set(part) } }
    }

    /// Breaks the point in time for good, for a reason.
    func breakSnapshot(_ error: Errno) {
        let observer = account.withLock { $0.breakOnce(error) }
        observer?()
    }
}
