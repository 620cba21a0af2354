import BlockGraph
import IOLoop

/// A copy that failed.
public struct MirrorFailure: Error, Hashable, Sendable {
    /// Why.
    public let errno: Errno
    /// Whether the source failed, and not the target.
    public let isRead: Bool

    /// A failure of one side.
    public init(errno: Errno, isRead: Bool) {
        self.errno = errno
        self.isRead = isRead
    }
}

/// Copying from the source to the target.
extension MirrorLink {
    /// The most zeroes that are written at a time, in bytes: a power of two.
    public static let maximumZeroes: Int64 = 1 << 30

    /// A run of bytes of the source that are all of one kind.
    public struct Run: Sendable {
        /// The bytes: at least one, but where the range is empty.
        public let range: ByteRange
        /// Whether they read as zeroes for sure.
        public let isZero: Bool
    }

    /// The run at the start of a range.
    public func run(at range: ByteRange, of source: BlockNode) async throws(Errno) -> Run {
        let (status, _) = try await source.blockStatusAbove(base: nil, range)
        guard status.length > 0 else { return Run(range: range, isZero: false) }
        return Run(range: range.lowerBound..<range.lowerBound + status.length, isZero: status.isZero)
    }

    /// Looks what a claim has at its start, and gives back what is of another kind: the claim covers whole granules of zeroes
    /// then, or data of at most `limit` bytes. Returns the run, which may be longer than the claim.
    public func cut(_ claim: inout MirrorMap.Claim, limit: Int64, source: BlockNode) async -> Run {
        let whole = claim.range
        // An answer that cannot be had is no answer: the copy will show.
        let found = (try? await run(at: whole, of: source)) ?? Run(range: whole, isZero: false)
        let granularity = map.granularity
        if found.isZero {
            let end = found.range.upperBound
            let zeroEnd = end == whole.upperBound ? end : end.alignedDown(to: granularity)
            if zeroEnd > whole.lowerBound {
                map.shrink(&claim, to: zeroEnd)
                return found
            }
        }
        // A granule that is zero in part counts as data.
        let dataEnd = max(found.range.upperBound.alignedUp(to: granularity), whole.lowerBound + granularity)
        map.shrink(&claim, to: min(dataEnd, whole.lowerBound + max(limit, granularity)))
        return Run(range: whole.lowerBound..<max(dataEnd, claim.range.upperBound), isZero: false)
    }

    /// Copies a claim that was cut, and gives it back.
    public func copy(_ claim: MirrorMap.Claim, isZero: Bool, from source: BlockNode) async -> MirrorFailure? {
        var failure: MirrorFailure?
        do throws(MirrorFailure) {
            if isZero {
                try await zero(claim.range)
            } else {
                try await copyData(claim.range, from: source)
            }
        } catch {
            failure = error
        }
        map.finishCopy(claim, succeeded: failure == nil, isZero: isZero)
        return failure
    }

    private func zero(_ range: ByteRange) async throws(MirrorFailure) {
        if map.targetIsZero(range) { return }
        do {
            try await target.writeZeroes(range, flags: unmaps ? .mayUnmap : [])
        } catch {
            throw MirrorFailure(errno: error, isRead: false)
        }
    }

    /// Copies bytes through a buffer.
    func copyData(_ range: ByteRange, from source: BlockNode) async throws(MirrorFailure) {
        for piece in range.pieces(ofAtMost: 4 << 20) {
            let buffer = BufferPool.shared.take(count: Int(piece.length))
            defer { BufferPool.shared.give(buffer) }
            do {
                try await source.read(piece, into: buffer)
            } catch {
                throw MirrorFailure(errno: error, isRead: true)
            }
            do {
                try await target.write(piece, from: buffer)
            } catch {
                throw MirrorFailure(errno: error, isRead: false)
            }
        }
    }
}
