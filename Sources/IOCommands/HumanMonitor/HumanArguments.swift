/// Takes arguments from the rest of a monitor's line.
struct HumanArgumentScanner {
    /// What keeps a string from being read.
    enum StringError: Error, Equatable {
        /// There is none.
        case missing
        /// It cannot be read; a line to print before the complaint about the argument.
        case malformed(String)
    }

    /// What has not been taken.
    private(set) var rest: ArraySlice<UInt8>

    init(_ line: ArraySlice<UInt8>) { rest = line }

    /// Whether a byte separates words.
    static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }

    /// Whether only blanks are left.
    mutating func isAtEnd() -> Bool {
        skipBlanks()
        return rest.isEmpty
    }

    /// Passes the blanks that come next.
    mutating func skipBlanks() {
        rest = rest.drop { Self.isBlank($0) }
    }

    /// The letter of an option that comes next, which is then behind; nil where no option comes, 0 where the line ends.
    mutating func option() -> UInt8? {
        skipBlanks()
        guard rest.first == UInt8(ascii: "-") else { return nil }
        rest.removeFirst()
        return rest.popFirst() ?? 0
    }

    /// The string that comes next: in double quotes, or up to the next blank.
    mutating func string() throws(StringError) -> String {
        skipBlanks()
        guard let first = rest.first else { throw .missing }
        if first == UInt8(ascii: "\"") {
            rest.removeFirst()
            return try quotedString()
        }
        let word = rest.prefix { !Self.isBlank($0) }
        rest = rest[word.endIndex...]
        return String(decoding: word, as: UTF8.self)
    }

    private mutating func quotedString() throws(StringError) -> String {
        var bytes: [UInt8] = []
        while let byte = rest.popFirst() {
            switch byte {
            case UInt8(ascii: "\""): return String(decoding: bytes, as: UTF8.self)
            case UInt8(ascii: "\\"): bytes.append(try escaped())
            default: bytes.append(byte)
            }
        }
        throw .malformed("unterminated string")
    }

    private mutating func escaped() throws(StringError) -> UInt8 {
        switch rest.popFirst() {
        case UInt8(ascii: "n"): return 0x0A
        case UInt8(ascii: "r"): return 0x0D
        case .some(let byte)
        where byte == UInt8(ascii: "\\") || byte == UInt8(ascii: "'") || byte == UInt8(ascii: "\""):
            return byte
        case let byte: throw .malformed("unsupported escape code: '\\\(String(decoding: [byte ?? 0], as: UTF8.self))'")
        }
    }
}
