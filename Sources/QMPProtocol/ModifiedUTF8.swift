/// Decodes the encoding of characters that QMP takes in strings: UTF-8 in which U+0000 may also be written C0 80.
///
/// Noncharacters (U+FDD0 to U+FDEF and the last two of each plane) do not count as characters.
struct ModifiedUTF8 {
    private var bytes: ArraySlice<UInt8>

    /// Decodes some bytes.
    init(_ bytes: ArraySlice<UInt8>) { self.bytes = bytes }

    /// What stands next in the bytes.
    enum Element: Equatable {
        case scalar(Unicode.Scalar)
        case invalid
    }

    /// The next character; an invalid sequence is taken as a whole: a lead byte with the continuation bytes that it
    /// announces, as far as there are any.
    mutating func next() -> Element? {
        guard let lead = bytes.popFirst() else { return nil }
        let count: Int
        switch lead {
        case 0..<0x80: return .scalar(Unicode.Scalar(lead))
        case 0xC0..<0xE0: count = 1
        case 0xE0..<0xF0: count = 2
        case 0xF0..<0xF8: count = 3
        case 0xF8..<0xFC: count = 4
        case 0xFC..<0xFE: count = 5
        default: return .invalid
        }
        var value = UInt32(lead) & (UInt32(0x3F) >> UInt32(count))
        for _ in 0..<count {
            guard let byte = bytes.first, byte & 0xC0 == 0x80 else { return .invalid }
            bytes.removeFirst()
            value = value << 6 | UInt32(byte & 0x3F)
        }
        let least: UInt32 = [0x80, 0x800, 0x10000, 0x20_0000, 0x400_0000][count - 1]
        let isNul = value == 0 && count == 1
        guard value >= least || isNul, let scalar = Unicode.Scalar(value), Self.isCharacter(scalar) else {
            return .invalid
        }
        return .scalar(scalar)
    }

    /// Whether a scalar value is a character and no noncharacter.
    static func isCharacter(_ scalar: Unicode.Scalar) -> Bool {
        !(0xFDD0...0xFDEF).contains(scalar.value) && scalar.value & 0xFFFE != 0xFFFE
    }

    /// The bytes as text, with U+FFFD for each invalid sequence.
    static func text(_ bytes: ArraySlice<UInt8>) -> String {
        var decoder = ModifiedUTF8(bytes)
        var text = ""
        while let element = decoder.next() {
            switch element {
            case .scalar(let scalar): text.unicodeScalars.append(scalar)
            case .invalid: text.unicodeScalars.append("\u{FFFD}")
            }
        }
        return text
    }
}
