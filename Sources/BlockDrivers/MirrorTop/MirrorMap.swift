import BlockGraph
import Synchronization

/// Where a mirror's two sides differ, and who is bringing them together where. All changes are made in one step.
///
/// A granule that is dirty has to be copied. Who copies an area claims it, and its granules are clean from then on; what is
/// written meanwhile makes them dirty again. A guest write that goes to both sides claims its range as well, so that no copy
/// and no other such write is under way there: the target sees writes in the order of the source.
///
/// A claim waits only for those made before it, and their holders wait for no other claim.
public final class MirrorMap: Sendable {
    /// A range that one copy or one guest write has for itself.
    public struct Claim: Sendable {
        fileprivate let number: UInt64
        /// The range.
        public fileprivate(set) var range: ByteRange
    }

    fileprivate struct Entry {
        let number: UInt64
        var range: ByteRange
        let isCopy: Bool
        var waiters: [UnsafeContinuation<Void, Never>] = []
    }

    fileprivate struct State {
        var entries: [Entry] = []
        var lastNumber: UInt64 = 0
        /// Where the next copy begins to look.
        var cursor: Int64 = 0
        var copyingBytes: Int64 = 0
        /// The granules of the target that read as zeroes for sure.
        var zeroes: HierarchicalBitmap
    }

    /// The granules that have to be copied.
    public let dirty: DirtyBitmap
    /// The length of the disk in bytes.
    public let length: Int64
    /// The bytes of a granule: a power of two.
    public let granularity: Int64

    private let state: Mutex<State>

    /// A map of two sides that are the same.
    public init(length: Int64, granularity: Int64) {
        self.length = length
        self.granularity = granularity
        dirty = DirtyBitmap(name: nil, length: length, granularity: granularity, recording: false)
        state = Mutex(State(zeroes: HierarchicalBitmap(length: length, granularity: granularity)))
    }

    // MARK: What differs

    /// Notes that the sides may differ in a range.
    public func markDirty(_ range: ByteRange) {
        dirty.withBits { $0.set(range) }
    }

    /// Notes that the target reads as zeroes throughout.
    public func noteTargetIsZero() { state.withLock { $0.zeroes.setAll() } }

    /// The bytes that have to be copied still, those that are being copied included.
    public var remainingBytes: Int64 {
        state.withLock { state in
            let (sum, overflow) = dirty.snapshot().dirtyByteCount.addingReportingOverflow(state.copyingBytes)
            return overflow ? .max : sum
        }
    }

    /// Whether nothing has to be copied and nothing is being copied.
    public var isClean: Bool {
        state.withLock { state in state.copyingBytes == 0 && dirty.snapshot().isClean }
    }

    // MARK: Copies

    /// Claims the next area that has to be copied: of at most `limit` bytes, but of one granule at least. Nil where there is
    /// none but such as others are at work on.
    public func claimCopy(limit: Int64) -> Claim? {
        let limit = max(limit, granularity)
        return state.withLock { state in
            guard let area = nextArea(state, limit: limit) else { return nil }
            state.cursor = area.upperBound
            dirty.withBits { $0.reset(covering: area) }
            state.copyingBytes += area.length
            return state.claim(area, isCopy: true)
        }
    }

    /// Whether there is an area that could be claimed.
    public var hasFreeArea: Bool { state.withLock { nextArea($0, limit: length) != nil } }

    private func nextArea(_ state: State, limit: Int64) -> ByteRange? {
        let bits = dirty.snapshot()
        guard !bits.isClean else { return nil }
        return state.freeArea(of: bits, from: state.cursor, to: length, limit: limit)
            ?? state.freeArea(of: bits, from: 0, to: state.cursor, limit: limit)
    }

    /// Gives the part of a copy's claim from `end` on back: it has to be copied still. `end` is a bound of granules.
    public func shrink(_ claim: inout Claim, to end: Int64) {
        guard end < claim.range.upperBound else { return }
        let rest = end..<claim.range.upperBound
        claim.range = claim.range.lowerBound..<end
        let number = claim.number
        let waiters = state.withLock { state -> [UnsafeContinuation<Void, Never>] in
            guard let index = state.entries.firstIndex(where: { $0.number == number }) else { return [] }
            dirty.withBits { $0.set(rest) }
            state.copyingBytes -= rest.length
            state.cursor = min(state.cursor, end)
            state.entries[index].range = state.entries[index].range.lowerBound..<end
            defer { state.entries[index].waiters = [] }
            return state.entries[index].waiters
        }
        for waiter in waiters { waiter.resume() }
    }

    /// Ends a copy. One that failed is to be made again.
    public func finishCopy(_ claim: Claim, succeeded: Bool, isZero: Bool) {
        end(claim) { state in
            state.copyingBytes -= claim.range.length
            if succeeded {
                state.noteTarget(claim.range, isZero: isZero)
            } else {
                state.noteTarget(claim.range, isZero: false)
                dirty.withBits { $0.set(claim.range) }
            }
        }
    }

    /// Whether the target is known to read as zeroes throughout the range.
    public func targetIsZero(_ range: ByteRange) -> Bool { state.withLock { $0.zeroes.isDirty(throughout: range) } }

    // MARK: Guest writes that go to both sides

    /// Claims the range of a guest write; returns when nobody else is at work there. What lies in it whole need not be
    /// copied any more.
    public func beginWrite(_ range: ByteRange) async -> Claim {
        let (claim, mustWait) = state.withLock { state -> (Claim, Bool) in
            let claim = state.claim(range, isCopy: false)
            return (claim, state.obstacle(to: claim) != nil)
        }
        if mustWait { await wait(for: claim) }
        dirty.withBits { $0.reset(contained: range) }
        return claim
    }

    /// Ends a guest write. Where it did not reach both sides the range has to be copied.
    public func endWrite(_ claim: Claim, reachedBoth: Bool, isZero: Bool = false) {
        end(claim) { state in
            if !reachedBoth { dirty.withBits { $0.set(claim.range) } }
            state.noteTarget(claim.range, isZero: isZero && reachedBoth)
        }
    }

    // MARK: Claims

    private func wait(for claim: Claim) async {
        while state.withLock({ $0.obstacle(to: claim) != nil }) {
            await withUnsafeContinuation { continuation in
                let isParked = state.withLock { state in
                    guard let index = state.obstacle(to: claim) else { return false }
                    state.entries[index].waiters.append(continuation)
                    return true
                }
                if !isParked { continuation.resume() }
            }
        }
    }

    private func end(_ claim: Claim, _ body: (inout State) -> Void) {
        let waiters = state.withLock { state -> [UnsafeContinuation<Void, Never>] in
            body(&state)
            guard let index = state.entries.firstIndex(where: { $0.number == claim.number }) else { return [] }
            return state.entries.remove(at: index).waiters
        }
        for waiter in waiters { waiter.resume() }
    }
}

extension MirrorMap.State {
    fileprivate mutating func claim(_ range: ByteRange, isCopy: Bool) -> MirrorMap.Claim {
        lastNumber += 1
        entries.append(MirrorMap.Entry(number: lastNumber, range: range, isCopy: isCopy))
        return MirrorMap.Claim(number: lastNumber, range: range)
    }

    /// The place of a claim from before this one that overlaps it.
    fileprivate func obstacle(to claim: MirrorMap.Claim) -> Int? {
        entries.firstIndex { $0.number < claim.number && $0.range.overlaps(claim.range) }
    }

    /// The first dirty area from `start` on which nobody is at work.
    fileprivate func freeArea(
        of bits: HierarchicalBitmap, from start: Int64, to end: Int64, limit: Int64
    ) -> ByteRange? {
        let granularity = bits.granularity
        var start = start
        while let area = bits.nextDirtyArea(from: start, to: end, maxLength: limit) {
            guard let taken = firstEntry(overlapping: area) else { return area }
            if taken.lowerBound > area.lowerBound {
                let free = area.lowerBound..<taken.lowerBound.alignedDown(to: granularity)
                if !free.isEmpty { return free }
            }
            start = min(taken.upperBound.alignedUp(to: granularity), end)
        }
        return nil
    }

    /// The claim that begins first of those that overlap an area.
    private func firstEntry(overlapping area: ByteRange) -> ByteRange? {
        entries.lazy.map(\.range).filter { $0.overlaps(area) }.min { $0.lowerBound < $1.lowerBound }
    }

    /// Notes what the target holds now.
    fileprivate mutating func noteTarget(_ range: ByteRange, isZero: Bool) {
        guard isZero else { return zeroes.reset(covering: range) }
        // Only whole granules: what lies around the range is not known.
        let granularity = zeroes.granularity
        let end = range.upperBound >= zeroes.length ? zeroes.length : range.upperBound.alignedDown(to: granularity)
        let start = range.lowerBound.alignedUp(to: granularity)
        if start < end { zeroes.set(start..<end) }
    }
}
