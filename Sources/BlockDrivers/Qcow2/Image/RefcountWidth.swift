import Qcow2Format

/// Refcounts of a width of 1, 2, 4, ... 64 bits in the bytes of a refcount block.
/// Spec: qcow2.txt, "Host cluster management".
struct RefcountWidth: Sendable {
    /// The exponent of the width in bits.
    let order: Int

    /// The largest refcount.
    var maximum: UInt64 { UInt64.max >> UInt64(64 - (1 << order)) }

    /// The refcount at an index.
    @inline(__always)
    func get(_ block: UnsafeMutableRawBufferPointer, _ index: Int) -> UInt64 {
        RefcountBlock.refcount(in: UnsafeRawBufferPointer(block), at: index, order: order)
    }

    /// Sets the refcount at an index to a value up to `maximum`.
    func set(_ block: UnsafeMutableRawBufferPointer, _ index: Int, _ value: UInt64) {
        RefcountBlock.setRefcount(value, in: block, at: index, order: order)
    }

    /// The bytes of a block that hold the refcounts of a range of indices.
    func bytes(_ indices: Range<Int>) -> Range<Int> {
        (indices.lowerBound << order) / 8..<((indices.upperBound << order) + 7) / 8
    }

    /// The first index in the range with the refcount 0.
    func firstFree(_ block: UnsafeMutableRawBufferPointer, in range: Range<Int>) -> Int? {
        var index = range.lowerBound
        while index < range.upperBound {
            if get(block, index) == 0 { return index }
            index += 1
        }
        return nil
    }

    /// The end of the run of refcounts 0 from an index, within the limit.
    func endOfFree(_ block: UnsafeMutableRawBufferPointer, from start: Int, limit: Int) -> Int {
        var index = start
        while index < limit, get(block, index) == 0 { index += 1 }
        return index
    }
}
