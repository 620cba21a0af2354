extension [UInt8] {
    /// Appends `value` in network byte order.
    mutating func appendBigEndian<T: FixedWidthInteger>(_ value: T) {
        var shift = T.bitWidth
        while shift > 0 {
            shift -= 8
            append(UInt8(truncatingIfNeeded: value >> T(shift)))
        }
    }
}

extension OutputRawSpan {
    /// Appends `value` in network byte order.
    mutating func appendBigEndian<T: FixedWidthInteger & BitwiseCopyable>(_ value: T) {
        append(value.bigEndian, as: T.self)
    }

    /// Appends the UTF-8 bytes of a string.
    mutating func append(utf8 string: Substring.UTF8View) {
        for byte in string {
            append(byte)
        }
    }
}

extension RawSpan {
    /// The integer in network byte order at `offset`; the caller has checked that it lies inside.
    func bigEndian<T: FixedWidthInteger & BitwiseCopyable>(at offset: Int, as type: T.Type) -> T {
        T(bigEndian: unsafeLoadUnaligned(fromByteOffset: offset, as: type))
    }
}

/// Reads fields of a received byte array in order; each read fails rather than passing the end.
struct ByteReader {
    private let bytes: [UInt8]
    private var position: Int

    init(_ bytes: [UInt8]) {
        self.bytes = bytes
        position = 0
    }

    /// Bytes not yet read.
    var remaining: Int { bytes.count - position }

    /// The next integer in network byte order, or nil if too few bytes are left.
    mutating func integer<T: FixedWidthInteger>(_ type: T.Type) -> T? {
        let size = T.bitWidth / 8
        guard remaining >= size else { return nil }
        var value: T = 0
        for byte in bytes[position..<position + size] {
            value = value << 8 | T(truncatingIfNeeded: byte)
        }
        position += size
        return value
    }

    /// The next `count` bytes, or nil if fewer are left.
    mutating func take(_ count: UInt32) -> ArraySlice<UInt8>? {
        guard let count = Int(exactly: count), count <= remaining else { return nil }
        defer { position += count }
        return bytes[position..<position + count]
    }
}
