import Glibc

extension Array<UInt8> {
    /// Appends the characters of a string as they stand between the quotes of a JSON string, in ASCII.
    mutating func append(escaping string: String) {
        for scalar in string.unicodeScalars {
            switch scalar {
            case "\"": append(escape: "\"")
            case "\\": append(escape: "\\")
            case "\u{8}": append(escape: "b")
            case "\u{c}": append(escape: "f")
            case "\n": append(escape: "n")
            case "\r": append(escape: "r")
            case "\t": append(escape: "t")
            case " "..."~": append(UInt8(truncatingIfNeeded: scalar.value))
            default:
                for unit in scalar.utf16 { append(escape: unit) }
            }
        }
    }

    private mutating func append(escape letter: Unicode.Scalar) {
        append(UInt8(ascii: "\\"))
        append(UInt8(truncatingIfNeeded: letter.value))
    }

    private mutating func append(escape unit: UInt16) {
        append(escape: "u")
        for shift in [12, 8, 4, 0] {
            let digit = UInt8(truncatingIfNeeded: unit >> shift) & 15
            append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "A") + digit - 10)
        }
    }
}

extension Double {
    /// The number as JSON text: see `JSONWriter.value`.
    var jsonText: String {
        if isNaN { return "null" }
        if isInfinite { return self < 0 ? "-1e999" : "1e999" }
        // A sign, 17 digits, a point and an exponent of five characters, or up to four zeros after `0.`.
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: 32) { buffer in
            let length = withVaList([self]) { vsnprintf(buffer.baseAddress, buffer.count, "%.17g", $0) }
            return String(decoding: buffer[..<Int(length)].lazy.map(UInt8.init(bitPattern:)), as: UTF8.self)
        }
    }

    /// The number that a JSON number stands for: the nearest one, or an infinity beyond the range.
    init(jsonText: some StringProtocol) {
        self = String(jsonText).withCString { strtod($0, nil) }
    }
}
