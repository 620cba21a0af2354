/// Turns a string token of QMP's dialect into a string of strict JSON.
enum StringToken {
    /// Why a string token stands for no string; the texts are QEMU's.
    enum Failure: Error, Equatable {
        case badEscape
        case badUTF8
        /// An escape that names no character, as text.
        case noCharacter(String)

        /// The words for the error message.
        var reason: String {
            switch self {
            case .badEscape: "invalid escape sequence in string"
            case .badUTF8: "invalid UTF-8 sequence in string"
            case .noCharacter(let escape): "\(escape) is not a valid Unicode character"
            }
        }
    }

    /// Appends the string to `text`, with quotes.
    /// - Parameters:
    ///   - token: The token with its quotes, single or double.
    ///   - nul: What to write for U+0000.
    /// - Returns: Whether the string holds U+0000.
    static func append(_ token: [UInt8], to text: inout [UInt8], nul: [UInt8]) throws(Failure) -> Bool {
        text.append(UInt8(ascii: "\""))
        var hasNul = false
        var index = 1
        let end = token.count - 1
        while index < end {
            let byte = token[index]
            if byte == UInt8(ascii: "\\") {
                let scalar = try unescape(token, &index)
                append(scalar, to: &text, nul: nul)
                hasNul = hasNul || scalar == "\0"
            } else if byte < 0x80 {
                index = appendPlain(token, from: index, to: end, into: &text)
            } else {
                var run = index
                while run < end, token[run] >= 0x80 { run += 1 }
                var decoder = ModifiedUTF8(token[index..<run])
                while let element = decoder.next() {
                    guard case .scalar(let scalar) = element else { throw .badUTF8 }
                    append(scalar, to: &text, nul: nul)
                    hasNul = hasNul || scalar == "\0"
                }
                index = run
            }
        }
        text.append(UInt8(ascii: "\""))
        return hasNul
    }

    /// Appends a run of ASCII that has no backslash; only double quotes, of a string in single quotes, need one.
    /// - Returns: The index behind the run.
    private static func appendPlain(_ token: [UInt8], from start: Int, to end: Int, into text: inout [UInt8]) -> Int {
        if token[start] == UInt8(ascii: "\"") {
            text.append(contentsOf: #"\""#.utf8)
            return start + 1
        }
        var index = start
        while index < end, token[index] < 0x80, token[index] != UInt8(ascii: "\\"), token[index] != UInt8(ascii: "\"") {
            index += 1
        }
        text.append(contentsOf: token[start..<index])
        return index
    }

    private static func append(_ scalar: Unicode.Scalar, to text: inout [UInt8], nul: [UInt8]) {
        switch scalar {
        case "\0": text.append(contentsOf: nul)
        case "\"": text.append(contentsOf: #"\""#.utf8)
        case "\\": text.append(contentsOf: #"\\"#.utf8)
        case "\u{8}": text.append(contentsOf: #"\b"#.utf8)
        case "\u{c}": text.append(contentsOf: #"\f"#.utf8)
        case "\n": text.append(contentsOf: #"\n"#.utf8)
        case "\r": text.append(contentsOf: #"\r"#.utf8)
        case "\t": text.append(contentsOf: #"\t"#.utf8)
        case "\u{1}"..."\u{1F}":
            text.append(contentsOf: #"\u00"#.utf8)
            text.append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: scalar.value >> 4))
            let digit = UInt8(truncatingIfNeeded: scalar.value & 15)
            text.append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "A") + digit - 10)
        default: text.append(contentsOf: UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
        }
    }

    /// The character that the escape sequence at `index` stands for; `index` moves behind the sequence.
    private static func unescape(_ token: [UInt8], _ index: inout Int) throws(Failure) -> Unicode.Scalar {
        let letter = token[index + 1]
        if letter == UInt8(ascii: "u") { return try unescapeCode(token, &index) }
        index += 2
        switch letter {
        case UInt8(ascii: "\""), UInt8(ascii: "'"), UInt8(ascii: "\\"), UInt8(ascii: "/"): return Unicode.Scalar(letter)
        case UInt8(ascii: "b"): return "\u{8}"
        case UInt8(ascii: "f"): return "\u{c}"
        case UInt8(ascii: "n"): return "\n"
        case UInt8(ascii: "r"): return "\r"
        case UInt8(ascii: "t"): return "\t"
        default: throw .badEscape
        }
    }

    /// Does `unescape` for `\uXXXX` and for two of these that make up a surrogate pair.
    private static func unescapeCode(_ token: [UInt8], _ index: inout Int) throws(Failure) -> Unicode.Scalar {
        let start = index
        guard let unit = codeUnit(token, at: index) else {
            throw .noCharacter(ModifiedUTF8.text(token[start..<min(start + 6, token.count)]))
        }
        index += 6
        var value = UInt32(unit)
        if UTF16.isLeadSurrogate(unit), let trail = codeUnit(token, at: index), UTF16.isTrailSurrogate(trail) {
            index += 6
            value = 0x10000 + (value & 0x3FF) << 10 + UInt32(trail & 0x3FF)
        }
        guard let scalar = Unicode.Scalar(value), ModifiedUTF8.isCharacter(scalar) else {
            throw .noCharacter(ModifiedUTF8.text(token[start..<index]))
        }
        return scalar
    }

    /// The code unit of the `\uXXXX` at an index; nil where there is no such thing.
    private static func codeUnit(_ token: [UInt8], at index: Int) -> UInt16? {
        guard index + 6 <= token.count, token[index] == UInt8(ascii: "\\"), token[index + 1] == UInt8(ascii: "u") else {
            return nil
        }
        var unit: UInt16 = 0
        for byte in token[(index + 2)..<(index + 6)] {
            guard let digit = Character(Unicode.Scalar(byte)).hexDigitValue else { return nil }
            unit = unit << 4 | UInt16(digit)
        }
        return unit
    }
}
