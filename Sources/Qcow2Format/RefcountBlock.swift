/// Access to the refcounts in the bytes of a refcount block. Spec: qcow2.txt, "Refcount block entry".
///
/// `order` is the exponent of the width in bits, 0 to 6. Counts narrower than a byte start at its least significant bit.
public enum RefcountBlock {
    /// The refcount number `index`. The index must be inside of `block`.
    @inlinable
    public static func refcount(in block: UnsafeRawBufferPointer, at index: Int, order: Int) -> UInt64 {
        switch order {
        case 0, 1, 2:
            let (byte, shift) = position(index, order: order)
            precondition(byte >= 0 && byte < block.count)
            return UInt64(block[byte] >> shift) & ((1 << (1 << UInt64(order))) - 1)
        case 3:
            precondition(index >= 0 && index < block.count)
            return UInt64(block[index])
        case 4: return UInt64(load(block, index, as: UInt16.self))
        case 5: return UInt64(load(block, index, as: UInt32.self))
        default: return load(block, index, as: UInt64.self)
        }
    }

    /// Stores a refcount; bits beyond the width are dropped. The index must be inside of `block`.
    @inlinable
    public static func setRefcount(
        _ value: UInt64, in block: UnsafeMutableRawBufferPointer, at index: Int, order: Int
    ) {
        switch order {
        case 0, 1, 2:
            let (byte, shift) = position(index, order: order)
            precondition(byte >= 0 && byte < block.count)
            let mask = UInt8((1 << (1 << order)) - 1)
            let kept = block[byte] & ~(mask << shift)
            block[byte] = kept | (UInt8(truncatingIfNeeded: value) & mask) << shift
        case 3:
            precondition(index >= 0 && index < block.count)
            block[index] = UInt8(truncatingIfNeeded: value)
        case 4: block.storeBigEndian(UInt16(truncatingIfNeeded: value), at: index * 2)
        case 5: block.storeBigEndian(UInt32(truncatingIfNeeded: value), at: index * 4)
        default: block.storeBigEndian(value, at: index * 8)
        }
    }

    /// Bytes that `count` refcounts take.
    @inlinable
    public static func byteCount(of count: Int, order: Int) -> Int {
        order >= 3 ? count << (order - 3) : (count + (1 << (3 - order)) - 1) >> (3 - order)
    }

    @inlinable
    static func position(_ index: Int, order: Int) -> (byte: Int, shift: UInt8) {
        (index >> (3 - order), UInt8((index & ((1 << (3 - order)) - 1)) << order))
    }

    @inlinable
    static func load<T: FixedWidthInteger>(_ block: UnsafeRawBufferPointer, _ index: Int, as type: T.Type) -> T {
        let size = MemoryLayout<T>.size
        precondition(index >= 0 && index < block.count / size)
        return T(bigEndian: block.loadUnaligned(fromByteOffset: index * size, as: T.self))
    }
}
