import BlockGraph
import IOLoop
import Synchronization

/// The reader's side of a point in time.
extension SnapshotState {
    /// A part of a snapshot read. It is to be given back with `finishRead`.
    struct ReadPart: Sendable {
        /// Where the bytes of the part are; with the token of the read there.
        enum Place: Sendable {
            case source(RangeTracker.Token?)
            case target(RangeTracker.Token?)
            case memory(DelayedCopy)
        }

        let range: ByteRange
        let place: Place
    }

    /// The parts of a snapshot read. Most have one only, for which no array is made.
    struct ReadParts: Sendable {
        let first: ReadPart
        var more: [ReadPart] = []
    }

    /// Cuts a snapshot read into parts by where the bytes are, and keeps guest writes away from those in the source, and
    /// discards from those in the target. Nil: a part is not accessible, or the range is empty.
    func beginRead(_ range: ByteRange) -> ReadParts? {
        account.withLock { account in
            guard !account.isBroken, range.lowerBound >= 0, range.upperBound <= length,
                access.withBits({ $0.isDirty(throughout: range) }), let first = beginPart(range, account)
            else { return nil }
            var parts = ReadParts(first: first)
            var end = first.range.upperBound
            while end < range.upperBound {
                guard let part = beginPart(end..<range.upperBound, account) else {
                    finishRead(parts)
                    return nil
                }
                parts.more.append(part)
                end = part.range.upperBound
            }
            return parts
        }
    }

    /// Begins the read of the first bytes of a range as far as they are accessible and in one place. Nil: the first one is not
    /// accessible, or the range is empty.
    func beginReadOfPrefix(of range: ByteRange) -> ReadPart? {
        account.withLock { account in
            guard !account.isBroken, range.lowerBound >= 0, range.upperBound <= length else { return nil }
            let end = access.withBits { $0.nextClean(in: range) } ?? range.upperBound
            return beginPart(range.lowerBound..<end, account)
        }
    }

    /// Begins the read of the first bytes that are in one place. Nil: they are nowhere, or there are none.
    private func beginPart(_ range: ByteRange, _ account: borrowing Account) -> ReadPart? {
        guard !range.isEmpty else { return nil }
        let (isDone, length) = done.withBits { $0.status(at: range.lowerBound, upTo: range.upperBound) }
        let run = range.lowerBound..<range.lowerBound + length
        guard isDone else { return ReadPart(range: run, place: .source(reads.tryBegin(run, exclusive: false))) }
        // What was overwritten without a copy is nowhere.
        if let kept = account.kept, !kept.isDirty(throughout: run) { return nil }
        var end = run.upperBound
        for copy in account.delayed where copy.area.overlaps(run) {
            if copy.area.contains(run.lowerBound) {
                let part = run.lowerBound..<min(run.upperBound, copy.area.upperBound)
                return ReadPart(range: part, place: .memory(copy))
            }
            end = min(end, copy.area.lowerBound)
        }
        let part = run.lowerBound..<end
        return ReadPart(range: part, place: .target(targetReads.tryBegin(part, exclusive: false)))
    }

    /// Gives a part of a snapshot read back.
    func finishRead(_ part: ReadPart) {
        switch part.place {
        case .source(let token?): reads.end(token)
        case .target(let token?): targetReads.end(token)
        case .source(nil), .target(nil), .memory: break
        }
    }

    private func finishRead(_ parts: ReadParts) {
        finishRead(parts.first)
        for part in parts.more { finishRead(part) }
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
