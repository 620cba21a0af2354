/// Reading and writing numbers of the format: big-endian, at any alignment.
extension UnsafeRawBufferPointer {
    /// The number at `offset`, or nil if it is not wholly inside.
    @inlinable
    public func bigEndian<T: FixedWidthInteger>(at offset: Int, as type: T.Type = T.self) -> T? {
        guard offset >= 0, offset <= count - MemoryLayout<T>.size else { return nil }
        return T(bigEndian: loadUnaligned(fromByteOffset: offset, as: T.self))
    }

    /// The number at `offset`; bytes beyond the end count as zeroes, as they do beyond the end of an image file.
    func zeroExtended<T: FixedWidthInteger>(at offset: Int, as type: T.Type = T.self) -> T {
        if let value = bigEndian(at: offset, as: type) { return value }
        var value: T = 0
        for index in 0..<MemoryLayout<T>.size {
            let position = offset + index
            value = value << 8 | (position < count ? T(truncatingIfNeeded: self[position]) : 0)
        }
        return value
    }

    /// `length` bytes from `offset` on, zeroes beyond the end. The caller bounds `length`.
    func zeroExtendedBytes(at offset: Int, length: Int) -> [UInt8] {
        let start = Swift.min(offset, count)
        let end = Swift.min(start + length, count)
        var bytes = [UInt8](self[start..<end])
        bytes.append(contentsOf: repeatElement(0, count: length - bytes.count))
        return bytes
    }
}

extension UnsafeMutableRawBufferPointer {
    /// Stores a number at `offset`, which must be inside with all its bytes.
    @inlinable
    public func storeBigEndian<T: FixedWidthInteger>(_ value: T, at offset: Int) {
        precondition(offset >= 0 && offset <= count - MemoryLayout<T>.size)
        storeBytes(of: value.bigEndian, toByteOffset: offset, as: T.self)
    }
}

extension [UInt8] {
    /// Appends a number.
    mutating func append<T: FixedWidthInteger>(bigEndian value: T) {
        Swift.withUnsafeBytes(of: value.bigEndian) { append(contentsOf: $0) }
    }

    /// Appends zeroes until the length is a multiple of `alignment`.
    mutating func pad(to alignment: Int) {
        let rest = count % alignment
        if rest != 0 { append(contentsOf: repeatElement(0, count: alignment - rest)) }
    }
}
