extension HierarchicalBitmap {
    /// Whether the granule that holds byte `offset` is dirty; false outside the disk.
    public func isDirty(at offset: Int64) -> Bool {
        guard offset >= 0, offset < length, let root else { return false }
        let bit = Int(offset >> Int64(granularityShift))
        return root.firstOne(from: bit) == bit
    }

    /// The first byte of `range` that is dirty, nil if there is none.
    public func nextDirty(in range: Range<Int64>) -> Int64? {
        guard let bits = bits(touching: range), let root else { return nil }
        guard let bit = root.firstOne(from: bits.lowerBound), bit < bits.upperBound else { return nil }
        return max(Int64(bit) << Int64(granularityShift), range.lowerBound)
    }

    /// The first byte of `range` that is clean, nil if there is none (bytes outside the disk are neither).
    public func nextClean(in range: Range<Int64>) -> Int64? {
        guard let bits = bits(touching: range) else { return nil }
        guard let root else { return max(range.lowerBound, 0) }
        guard let bit = root.firstZero(from: bits.lowerBound), bit < bits.upperBound else { return nil }
        return max(Int64(bit) << Int64(granularityShift), range.lowerBound)
    }

    /// The first byte at or after `offset`, and before `end` if given, that is dirty.
    public func nextDirty(from offset: Int64, to end: Int64? = nil) -> Int64? {
        nextDirty(in: offset..<max(offset, end ?? length))
    }

    /// The first byte at or after `offset`, and before `end` if given, that is clean.
    public func nextZero(from offset: Int64, to end: Int64? = nil) -> Int64? {
        nextClean(in: offset..<max(offset, end ?? length))
    }

    /// The first run of dirty bytes in `from ..< to`, nil if all is clean.
    /// - Parameters:
    ///   - offset: where to begin.
    ///   - end: where to stop looking, and the bound of the run; the end of the disk if nil.
    ///   - maxLength: the most bytes to return, at least 1.
    /// - Returns: a run within the bounds. It begins or ends within a granule only where the bounds cut it.
    public func nextDirtyArea(from offset: Int64, to end: Int64? = nil, maxLength: Int64 = .max) -> Range<Int64>? {
        let end = min(end ?? length, length)
        guard maxLength > 0, let start = nextDirty(from: offset, to: end) else { return nil }
        let limit = end - start > maxLength ? start + maxLength : end
        return start..<(nextZero(from: start, to: limit) ?? limit)
    }

    /// Whether the byte at `offset` is dirty, and for how many bytes from there, at most up to `end`, this stays so.
    /// The length is 0 where `offset` is outside the disk or not before `end`.
    public func status(at offset: Int64, upTo end: Int64) -> (isDirty: Bool, length: Int64) {
        let end = min(end, length)
        guard offset >= 0, offset < end else { return (false, 0) }
        let dirty = isDirty(at: offset)
        let next = dirty ? nextZero(from: offset, to: end) : nextDirty(from: offset, to: end)
        return (dirty, (next ?? end) - offset)
    }

    /// Whether every granule that `range` touches is dirty; true if it touches none.
    public func isDirty(throughout range: Range<Int64>) -> Bool { nextClean(in: range) == nil }

    /// Whether every granule that `range` touches is clean; true if it touches none.
    public func isClean(throughout range: Range<Int64>) -> Bool { nextDirty(in: range) == nil }

    /// Calls `body` with the runs of dirty bytes within `range`, in order, no two of them adjacent, cut at its bounds; until
    /// there are no more, or `body` returns false. Faster than `dirtyAreas`, which looks for each run from the root.
    public func forEachDirtyArea(in range: Range<Int64>, _ body: (Range<Int64>) -> Bool) {
        guard let bits = bits(touching: range), let root else { return }
        let (low, high) = (max(range.lowerBound, 0), min(range.upperBound, length))
        func area(_ run: Range<Int>) -> Range<Int64> {
            let start = max(Int64(run.lowerBound) << Int64(granularityShift), low)
            // The last granule may reach beyond what an offset can say.
            let end = run.upperBound == bits.upperBound ? high : Int64(run.upperBound) << Int64(granularityShift)
            return start..<end
        }
        var pending: Range<Int>?
        let goesOn = root.forEachRun(bits.lowerBound, bits.upperBound, at: 0) { run in
            guard let former = pending else {
                pending = run
                return true
            }
            if former.upperBound == run.lowerBound {
                pending = former.lowerBound..<run.upperBound
                return true
            }
            pending = run
            return body(area(former))
        }
        if goesOn, let pending { _ = body(area(pending)) }
    }

    /// The runs of dirty bytes, in order, no two of them adjacent. The sequence is a snapshot: later changes of the
    /// bitmap do not show in it.
    public var dirtyAreas: DirtyAreas { DirtyAreas(bitmap: self, offset: 0, end: length) }

    /// The runs of dirty bytes within `range`, cut at its bounds.
    public func dirtyAreas(in range: Range<Int64>) -> DirtyAreas {
        DirtyAreas(bitmap: self, offset: range.lowerBound, end: range.upperBound)
    }

    /// The runs of dirty bytes of a bitmap, in order.
    public struct DirtyAreas: Sequence, IteratorProtocol, Sendable {
        let bitmap: HierarchicalBitmap
        var offset: Int64
        let end: Int64

        /// The next run, nil after the last one.
        public mutating func next() -> Range<Int64>? {
            guard let area = bitmap.nextDirtyArea(from: offset, to: end) else { return nil }
            offset = area.upperBound
            return area
        }
    }
}
