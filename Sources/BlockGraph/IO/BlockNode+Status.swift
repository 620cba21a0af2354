import IOLoop

extension BlockNode {
    /// The status of a run from the start of the range; not longer than the range, and ending at the end of the node.
    ///
    /// A range that begins at or beyond the end gives a run of length 0 with `isEndOfFile`.
    public func blockStatus(
        _ range: ByteRange, precision: BlockStatusPrecision = .zeroes
    ) async throws(Errno) -> BlockStatus {
        let driver = driver
        let end = driver.length
        guard range.lowerBound < end, !range.isEmpty else {
            var status = BlockStatus(length: 0)
            status.isEndOfFile = range.lowerBound >= end
            return status
        }
        let clipped = range.lowerBound..<min(range.upperBound, end)
        let alignment = driver.limits.requestAlignment
        let padded = clipped.aligned(outwardTo: alignment)
        var status = try await driver.blockStatus(padded, precision: precision)
        if alignment > 1 { status.align(to: alignment, within: padded.length) }
        let skipped = clipped.lowerBound - padded.lowerBound
        status.length = min(status.length - skipped, clipped.length)
        if let offset = status.hostOffset { status.hostOffset = offset + skipped }
        if status.asksFile, precision == .zeroes { await refineFromFile(&status) }
        status.isEndOfFile = clipped.lowerBound + status.length == end
        return status
    }

    /// Asks the node that stores the data whether it reads as zeroes.
    private func refineFromFile(_ status: inout BlockStatus) async {
        status.asksFile = false
        guard status.isData, !status.isZero, let file = status.file, let offset = status.hostOffset,
            let range = ByteRange(offset: offset, count: status.length),
            let below = try? await file.blockStatus(range)  // An answer that cannot be had is no answer.
        else { return }
        if below.length == 0 {
            status.isZero = below.isEndOfFile
        } else if below.isZero {
            status.length = min(status.length, below.length)
            status.isZero = true
        } else {
            status.length = min(status.length, below.length)
        }
    }

    /// The status of a run as seen through the chain of filters and backing files above `base` (nil: the whole chain), and
    /// the number of the layer that has it, from 1 for the topmost, filters that had to be passed included; 0 where no layer
    /// has.
    ///
    /// What no layer has is not said to be zero here: that is for the driver at the end of the chain to know.
    public func blockStatusAbove(
        base: BlockNode?, _ range: ByteRange, precision: BlockStatusPrecision = .zeroes
    ) async throws(Errno) -> (status: BlockStatus, depth: Int) {
        var status = try await blockStatus(range, precision: precision)
        guard status.length > 0 else { return (status, 0) }
        let isEnd = status.isEndOfFile
        let wholeLength = status.length
        var layer = self
        var depth = 1
        while !status.isAllocated {
            guard let next = (layer.driver.filteredChild ?? layer.driver.backingChild)?.node, next !== base else {
                status.isEndOfFile = isEnd && status.length == wholeLength
                return (status, 0)
            }
            layer = next
            depth += 1
            let rest = range.lowerBound..<range.lowerBound + status.length
            var below = try await layer.blockStatus(rest, precision: precision)
            if below.length == 0 {
                // The layer is shorter than the one above: zeroes from its end on.
                below = BlockStatus(length: rest.length, isZero: true, isAllocated: true)
            }
            status = below
        }
        status.isEndOfFile = isEnd && status.length == wholeLength
        return (status, depth)
    }
}

extension BlockStatus {
    /// Rounds the length to whole blocks of `alignment` bytes: a block that is partly data is data.
    fileprivate mutating func align(to alignment: Int64, within limit: Int64) {
        let whole = length.alignedDown(to: alignment)
        guard whole < length else { return }
        if isData {
            length = min(whole + alignment, limit)
        } else if whole > 0 {
            length = whole
        } else {
            length = min(alignment, limit)
            isData = true
            isZero = false
        }
    }
}
