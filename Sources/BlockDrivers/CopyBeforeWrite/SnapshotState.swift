import BlockGraph
import IOLoop
import Synchronization

/// What a copy-before-write filter knows of its point in time, cluster by cluster. All changes are made in one step.
///
/// | state of a cluster | copy | access | done |
/// |---|---|---|---|
/// | untouched | set | set | |
/// | being copied | | set | |
/// | in the target | | set | set |
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
    /// The clusters that lie in the target.
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

    private struct Account {
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
    }

    /// Guards every step over more than one of the above.
    private let account = Mutex(Account())

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
        /// Copy these areas, under these tokens; then ask again.
        case copy([ClaimedArea])
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
            let claimed = copy.withBits { bits in
                var areas: [ByteRange] = []
                while areas.count < count,
                    let area = bits.nextDirtyArea(
                        from: clusters.lowerBound, to: clusters.upperBound, maxLength: limit)
                {
                    bits.reset(covering: area)
                    areas.append(area)
                }
                return areas
            }
            if !claimed.isEmpty {
                return .copy(claimed.map { claim($0, &account) })
            }
            guard let token = copies.tryBegin(clusters, exclusive: true) else { return .wait }
            copies.end(token)
            done.withBits { $0.set(clusters) }
            return .proceed
        }
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
    private func granules(_ area: ByteRange) -> Int64 { area.aligned(outwardTo: clusterSize).length }

    /// Claims the first area in the range that must be copied, of at most `limit` bytes but of one cluster at least, for a copy
    /// that no guest waits for. Nil: there is none. Error: what broke the point in time, where it is broken.
    func claimFirst(in range: ByteRange, limit: Int64) throws(Errno) -> ClaimedArea? {
        let claimed = account.withLock { account -> Result<ClaimedArea?, Errno> in
            if let error = account.error { return .failure(error) }
            let area = copy.withBits { bits -> ByteRange? in
                let area = bits.nextDirtyArea(
                    from: range.lowerBound, to: range.upperBound, maxLength: max(limit, clusterSize))
                if let area { bits.reset(covering: area) }
                return area
            }
            return .success(area.map { claim($0, &account) })
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
                // What was discarded meanwhile must not come back.
                let accessible = access.withBits { Array($0.dirtyAreas(in: area)) }
                copy.withBits { bits in for part in accessible { bits.set(part) } }
            }
        }
    }

    /// Breaks the point in time for good, for a reason.
    func breakSnapshot(_ error: Errno) {
        let observer = account.withLock { account -> (@Sendable () -> Void)? in
            guard !account.isBroken else { return nil }
            account.error = error
            return account.observer
        }
        observer?()
    }

    /// A part of a snapshot read: where its bytes are, and the token of the read there.
    struct ReadPart: Sendable {
        let range: ByteRange
        let isInTarget: Bool
        let token: RangeTracker.Token?
    }

    /// Cuts a snapshot read into parts by where the bytes are, and keeps guest writes away from those in the source, and
    /// discards from those in the target. Nil: a part is not accessible. Each part is to be given back with `finishRead`.
    func beginRead(_ range: ByteRange) -> [ReadPart]? {
        account.withLock { account in
            guard !account.isBroken, range.lowerBound >= 0, range.upperBound <= length,
                access.withBits({ $0.isDirty(throughout: range) })
            else { return nil }
            var parts: [ReadPart] = []
            var offset = range.lowerBound
            while offset < range.upperBound {
                let (isDone, length) = done.withBits { [offset] in $0.status(at: offset, upTo: range.upperBound) }
                let part = offset..<offset + length
                // What was overwritten without a copy is nowhere.
                if isDone, account.kept?.isDirty(throughout: part) == false {
                    for part in parts { finishRead(part) }
                    return nil
                }
                let token = (isDone ? targetReads : reads).tryBegin(part, exclusive: false)
                parts.append(ReadPart(range: part, isInTarget: isDone, token: token))
                offset += length
            }
            return parts
        }
    }

    /// Gives a part of a snapshot read back.
    func finishRead(_ part: ReadPart) {
        if let token = part.token { (part.isInTarget ? targetReads : reads).end(token) }
    }

    /// Cuts a range at the first byte that is not accessible; nil where that is its first.
    func accessiblePrefix(of range: ByteRange) -> ByteRange? {
        account.withLock { account in
            guard !account.isBroken else { return nil }
            let end = access.withBits { $0.nextClean(in: range) } ?? range.upperBound
            return end > range.lowerBound ? range.lowerBound..<end : nil
        }
    }

    /// Takes whole clusters out of the point in time; the range of them.
    func discard(_ range: ByteRange) -> ByteRange {
        var inner = range.aligned(inwardTo: clusterSize)
        if range.upperBound >= length {
            let start = min(range.lowerBound.alignedUp(to: clusterSize), length)
            inner = start..<length
        }
        guard !inner.isEmpty else { return inner }
        account.withLock { _ in
            access.withBits { $0.reset(covering: inner) }
            copy.withBits { $0.reset(covering: inner) }
        }
        return inner
    }
}
