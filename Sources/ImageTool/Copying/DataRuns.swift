import BlockGraph
import IOLoop

/// Which parts of a buffer are data, and which are zeroes that can be left out.
struct DataRuns: Sequence, IteratorProtocol {
    private let buffer: IOBuffer
    private let unit: Int
    private let minimum: Int
    private let shift: Int
    private var position = 0

    /// The runs of a buffer whose first byte is at an offset of the image.
    ///
    /// - Parameters:
    ///   - granularity: the unit, a power of two, which is data as a whole where one byte of it is not zero.
    ///   - sparseSize: the fewest bytes of zeroes that are told from data, at least 512.
    init(_ buffer: IOBuffer, at offset: Int64, granularity: Int64, sparseSize: Int64) {
        self.buffer = buffer
        unit = Int(Swift.max(granularity, Swift.min(sparseSize, 4096)))
        minimum = Int(sparseSize)
        shift = Int(offset % Int64(unit))
    }

    /// The next run; nil at the end of the buffer.
    mutating func next() -> (range: Range<Int>, isZero: Bool)? {
        guard position < buffer.count else { return nil }
        let start = position
        var end = endOfUnit(start)
        let isZero = buffer[start..<end].isZero
        if isZero {
            end = endOfZeroes(end)
            // At the ends of the buffer the zeroes may go on beyond it.
            if end - start >= minimum || start == 0 || end == buffer.count {
                position = end
                return (start..<end, true)
            }
        }
        while end < buffer.count {
            let next = endOfUnit(end)
            guard buffer[end..<next].isZero else {
                end = next
                continue
            }
            let last = endOfZeroes(next)
            if last - end >= minimum || last == buffer.count { break }
            end = last
        }
        position = end
        return (start..<end, false)
    }

    private func endOfUnit(_ start: Int) -> Int {
        Swift.min(buffer.count, start + unit - (start + shift) % unit)
    }

    private func endOfZeroes(_ start: Int) -> Int {
        var end = start
        while end < buffer.count {
            let next = endOfUnit(end)
            guard buffer[end..<next].isZero else { break }
            end = next
        }
        return end
    }
}
