/// Bytes as lines of offset, sixteen values in hexadecimal, and the letters and digits among them.
enum HexDump {
    private static let digits = Array("0123456789abcdef".utf8)

    /// The lines of a part of the bytes; the first byte has the offset `offset`, and the part begins at a whole line.
    static func text(_ bytes: UnsafeRawBufferPointer, offset: Int64) -> String {
        var output: [UInt8] = []
        output.reserveCapacity((bytes.count / 16 + 1) * 78)
        for start in stride(from: 0, to: bytes.count, by: 16) {
            let line = bytes[start..<min(start + 16, bytes.count)]
            output += Array((UInt64(offset) + UInt64(start)).hexadecimal(width: 8).utf8)
            output += Array(":  ".utf8)
            for byte in line { output += [digits[Int(byte >> 4)], digits[Int(byte & 15)], 0x20] }
            output.append(0x20)
            for byte in line { output.append(isAlphanumeric(byte) ? byte : UInt8(ascii: ".")) }
            output.append(0x0A)
        }
        return String(decoding: output, as: UTF8.self)
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte & 0xDF)
    }
}
