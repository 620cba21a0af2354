import Glibc

/// Numbers of bytes as `qemu-io` reads and prints them.
enum ByteCount {
    /// Why a text is no number of bytes.
    enum ParseError: Error, Equatable {
        /// It is not of the form; the text after the number is no suffix; a fraction of a byte.
        case malformed
        /// It is negative or above 2^63 - 1.
        case outOfRange

        /// The message, without the text that it is about.
        var description: String {
            switch self {
            case .malformed: "Parsing error: non-numeric argument, or extraneous/unrecognized suffix"
            case .outOfRange: "Parsing error: argument too large"
            }
        }
    }

    private static let units = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]

    /// A number of bytes for people: "512 bytes", "1.500 KiB", "64 MiB"; three decimals, left out where they are zero.
    static func text(_ value: Double) -> String {
        var unit = 0
        while unit + 1 < units.count, value >= pow(1024, Double(unit + 1)) { unit += 1 }
        let digits = formatted(unit == 0 ? "%f" : "%.3f", value / pow(1024, Double(unit)))
        return "\(withoutZeroDecimals(digits)) \(units[unit])"
    }

    /// The text up to its decimals where the first three of them are zero.
    private static func withoutZeroDecimals(_ digits: String) -> Substring {
        guard let point = digits.firstIndex(of: "."), digits[point...].hasPrefix(".000") else { return digits[...] }
        return digits[..<point]
    }

    /// Reads a number: decimal digits with an optional fraction and a suffix of b, k, m, g, t, p, e in either case, or
    /// hexadecimal digits after "0x". A leading zero does not make it octal; a fraction must give whole bytes, or has a
    /// suffix and is rounded.
    static func parse(_ text: String) throws(ParseError) -> Int64 {
        var rest = Array(text.utf8)[...]
        while let first = rest.first, isSpace(first) { rest.removeFirst() }
        let isNegative = rest.first == UInt8(ascii: "-")
        if isNegative || rest.first == UInt8(ascii: "+") { rest.removeFirst() }
        let isHexadecimal = hasHexadecimalPrefix(rest)
        guard !isHexadecimal || !isNegative else { throw .malformed }
        let value = try isHexadecimal ? hexadecimal(rest.dropFirst(2)) : decimal(rest)
        guard !isNegative, let value, value <= UInt64(Int64.max) else { throw .outOfRange }
        return Int64(value)
    }

    private static func hasHexadecimalPrefix(_ text: ArraySlice<UInt8>) -> Bool {
        text.starts(with: [UInt8(ascii: "0"), UInt8(ascii: "x")])
            || text.starts(with: [UInt8(ascii: "0"), UInt8(ascii: "X")])
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }
    private static func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }

    /// The value of hexadecimal digits; nil where it does not fit into 64 bits.
    private static func hexadecimal(_ digits: ArraySlice<UInt8>) throws(ParseError) -> UInt64? {
        let text = String(decoding: digits, as: UTF8.self)
        guard !digits.isEmpty, text.allSatisfy({ $0.isASCII && $0.isHexDigit }) else { throw .malformed }
        return UInt64(text, radix: 16)
    }

    /// The value of a decimal number with its fraction and suffix; nil where it does not fit into 64 bits.
    private static func decimal(_ text: ArraySlice<UInt8>) throws(ParseError) -> UInt64? {
        let whole = text.prefix(while: isDigit)
        var rest = text[whole.endIndex...]
        var fraction = 0.0
        var hasFractionDigits = false
        if rest.first == UInt8(ascii: ".") {
            let digits = rest.dropFirst().prefix(while: isDigit)
            hasFractionDigits = !digits.isEmpty
            rest = rest[digits.endIndex...]
            fraction = Double("0.\(String(decoding: digits, as: UTF8.self))0") ?? 0
        }
        guard !whole.isEmpty || hasFractionDigits, let shift = shift(of: rest) else { throw .malformed }
        guard fraction == 0 || shift > 0 else { throw .malformed }
        guard let value = whole.isEmpty ? 0 : UInt64(String(decoding: whole, as: UTF8.self)) else { return nil }
        let part = UInt64(fraction * Double(UInt64(1) << shift) + 0.5)
        let (product, overflow) = value.multipliedReportingOverflow(by: 1 << shift)
        let (sum, carry) = product.addingReportingOverflow(part)
        return overflow || carry ? nil : sum
    }

    /// The power of two that a suffix stands for, 0 for none; nil where it is not known.
    private static func shift(of suffix: ArraySlice<UInt8>) -> UInt64? {
        guard let letter = suffix.first else { return 0 }
        let letters = Array("bkmgtpe".utf8)
        guard suffix.count == 1, let index = letters.firstIndex(of: letter | 0x20) else { return nil }
        return UInt64(index) * 10
    }
}

/// The value of a whole number in the notation of C: decimal, octal after "0", hexadecimal after "0x".
/// Nil where the text is no such number; the nearest `Int64` where it is out of range.
func parseCInteger(_ text: String) -> Int64? {
    guard !text.isEmpty, !text.utf8.contains(0) else { return nil }
    return text.withCString { start in
        var end: UnsafeMutablePointer<CChar>?
        let value = strtol(start, &end, 0)
        guard let end, end.pointee == 0, end != start else { return nil }
        return Int64(value)
    }
}
