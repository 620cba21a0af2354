/// A half-open range of byte offsets, from 0 to at most 2^63 - 1.
public typealias ByteRange = Range<Int64>

extension Range where Bound == Int64 {
    /// The range of `count` bytes from `offset`; nil where it would be negative or pass 2^63 - 1.
    public init?(offset: Int64, count: Int64) {
        let (end, overflow) = offset.addingReportingOverflow(count)
        guard offset >= 0, count >= 0, !overflow else { return nil }
        self = offset..<end
    }

    /// The number of bytes.
    public var length: Int64 { upperBound - lowerBound }

    /// The smallest range with bounds that are multiples of `alignment` (1 or more) which covers this one.
    ///
    /// The upper bound stays at the largest multiple of `alignment` where rounding up would overflow.
    public func aligned(outwardTo alignment: Int64) -> ByteRange {
        lowerBound.alignedDown(to: alignment)..<upperBound.alignedUp(to: alignment)
    }

    /// The largest range with bounds that are multiples of `alignment` within this one; empty where there is none.
    public func aligned(inwardTo alignment: Int64) -> ByteRange {
        let lower = lowerBound.alignedUp(to: alignment)
        return lower..<Swift.max(lower, upperBound.alignedDown(to: alignment))
    }

    /// Whether both bounds are multiples of `alignment`.
    public func isAligned(to alignment: Int64) -> Bool {
        alignment == 1 || (lowerBound % alignment == 0 && upperBound % alignment == 0)
    }

    /// The range cut up into pieces of at most `limit` bytes, whose inner bounds are multiples of `limit` from its start.
    public func pieces(ofAtMost limit: Int64) -> some Sequence<ByteRange> {
        let end = upperBound
        return stride(from: lowerBound, to: end, by: Int64.Stride(limit)).lazy.map { start in
            start..<(end - start > limit ? start + limit : end)
        }
    }
}

extension Int64 {
    /// The largest multiple of `alignment` that is not above this number, which is 0 or more.
    public func alignedDown(to alignment: Int64) -> Int64 { self - self % alignment }

    /// The smallest multiple of `alignment` that is not below this number; the largest there is where it would overflow.
    public func alignedUp(to alignment: Int64) -> Int64 {
        let rest = self % alignment
        guard rest != 0 else { return self }
        let (up, overflow) = addingReportingOverflow(alignment - rest)
        return overflow ? self - rest : up
    }
}
