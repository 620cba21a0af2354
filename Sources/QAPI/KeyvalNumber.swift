/// Numbers as they are written on a command line.
public enum KeyvalNumber {
    /// An integer from -2^63 to 2^63 - 1: decimal, octal after `0`, or hexadecimal after `0x`; nil for anything else.
    static func signed(_ text: String) -> Int64? {
        guard let (negative, magnitude) = integer(text) else { return nil }
        if negative {
            return magnitude <= 1 << 63 ? Int64(truncatingIfNeeded: 0 &- magnitude) : nil
        }
        return Int64(exactly: magnitude)
    }

    /// An integer from 0 to 2^64 - 1, a negative one counting down from 2^64; nil for anything else.
    static func unsigned(_ text: String) -> UInt64? {
        guard let (negative, magnitude) = integer(text) else { return nil }
        return negative ? 0 &- magnitude : magnitude
    }

    /// A count of bytes: a decimal number, with a fraction if a unit follows (`b`, `k`, `m`, `g`, `t`, `p`, `e`, of
    /// either case, powers of 1024), or a hexadecimal integer without unit; nil for anything else.
    public static func size(_ text: String) -> UInt64? {
        var rest = trimmed(text)
        if rest.first == UInt8(ascii: "+") { rest = rest.dropFirst() }
        if let (digits, radix) = prefixed(rest), radix == 16 { return magnitude(digits, radix) }
        let whole = rest.prefix(while: isDigit)
        rest = rest.dropFirst(whole.count)
        var fraction = rest.prefix(0)
        if rest.first == UInt8(ascii: ".") {
            fraction = rest.dropFirst().prefix(while: isDigit)
            rest = rest.dropFirst(1 + fraction.count)
        }
        guard !(whole.isEmpty && fraction.isEmpty), let shift = unit(rest) else { return nil }
        guard let integer = whole.isEmpty ? 0 : magnitude(whole, 10), integer <= UInt64.max >> shift else { return nil }
        return add(integer << shift, fraction, shift)
    }

    /// `bytes` plus a decimal fraction of the unit of `1 << shift` bytes; nil where that is no count of bytes.
    private static func add(_ bytes: UInt64, _ fraction: ArraySlice<UInt8>, _ shift: UInt64) -> UInt64? {
        guard fraction.contains(where: { $0 != UInt8(ascii: "0") }) else { return bytes }
        guard shift > 0, let part = Double("0." + String(decoding: fraction, as: UTF8.self)) else { return nil }
        let (sum, overflow) = bytes.addingReportingOverflow(UInt64(part * Double(UInt64(1) << shift)))
        return overflow ? nil : sum
    }

    /// The power of two that a unit stands for; nil where `text` is no unit.
    private static func unit(_ text: ArraySlice<UInt8>) -> UInt64? {
        guard let letter = text.first else { return 0 }
        guard text.count == 1, let index = Array("bkmgtpe".utf8).firstIndex(of: letter | 0x20) else { return nil }
        return UInt64(index) * 10
    }

    private static func integer(_ text: String) -> (negative: Bool, magnitude: UInt64)? {
        var rest = trimmed(text)
        var negative = false
        if let sign = rest.first, sign == UInt8(ascii: "-") || sign == UInt8(ascii: "+") {
            negative = sign == UInt8(ascii: "-")
            rest = rest.dropFirst()
        }
        let (digits, radix) = prefixed(rest) ?? (rest, 10)
        guard let magnitude = magnitude(digits, radix) else { return nil }
        return (negative, magnitude)
    }

    /// The digits after a prefix that names the radix, nil where there is no prefix.
    private static func prefixed(_ text: ArraySlice<UInt8>) -> (digits: ArraySlice<UInt8>, radix: UInt64)? {
        guard text.first == UInt8(ascii: "0"), let second = text.dropFirst().first else { return nil }
        return second | 0x20 == UInt8(ascii: "x") ? (text.dropFirst(2), 16) : (text.dropFirst(), 8)
    }

    private static func magnitude(_ digits: ArraySlice<UInt8>, _ radix: UInt64) -> UInt64? {
        guard !digits.isEmpty else { return nil }
        var result: UInt64 = 0
        for byte in digits {
            guard let digit = Character(UnicodeScalar(byte)).hexDigitValue, digit < radix else { return nil }
            let (product, tooLarge) = result.multipliedReportingOverflow(by: radix)
            let (sum, overflow) = product.addingReportingOverflow(UInt64(digit))
            guard !tooLarge, !overflow else { return nil }
            result = sum
        }
        return result
    }

    /// The text without the white space in front of it.
    private static func trimmed(_ text: String) -> ArraySlice<UInt8> {
        Array(text.utf8).drop { $0 == UInt8(ascii: " ") || (9...13).contains($0) }
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }
}
