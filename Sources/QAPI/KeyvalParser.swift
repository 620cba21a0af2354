/// Splits the value of a command line option into dotted keys and their values.
struct KeyvalParser {
    /// A fragment of a key is shorter than this, in bytes.
    private static let fragmentLimit = 128

    private var rest: ArraySlice<UInt8>
    private var impliedKey: String?
    private var tree = KeyvalTree()
    /// Whether `help` or `?` stood among the keys.
    private(set) var asksForHelp = false

    init(_ text: String, impliedKey: String?) {
        rest = Array(text.utf8)[...]
        self.impliedKey = impliedKey
    }

    mutating func parse() throws(QMPError) -> KeyvalTree {
        while !rest.isEmpty {
            try parsePart()
            impliedKey = nil
        }
        return tree
    }

    /// Parses one key and its value, and the comma after them.
    private mutating func parsePart() throws(QMPError) {
        let key = rest.prefix { $0 != UInt8(ascii: "=") && $0 != UInt8(ascii: ",") }
        let hasValue = key.endIndex < rest.endIndex && rest[key.endIndex] == UInt8(ascii: "=")
        if !hasValue, key.elementsEqual("help".utf8) || key.elementsEqual("?".utf8) {
            asksForHelp = true
            rest = rest[key.endIndex...].dropFirst()
            return
        }
        if let impliedKey, !hasValue, !key.isEmpty {
            rest = rest[key.endIndex...].dropFirst()
            try tree.set([impliedKey], String(decoding: key, as: UTF8.self))
            return
        }
        let fragments = try Self.fragments(of: key)
        rest = rest[key.endIndex...]
        guard hasValue else {
            throw QMPError("Expected '=' after parameter '\(String(decoding: key, as: UTF8.self))'")
        }
        rest = rest.dropFirst()
        try tree.set(fragments, takeValue())
    }

    /// Takes a value, in which two commas stand for one, and the comma after it.
    private mutating func takeValue() -> String {
        var value: [UInt8] = []
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: ",") {
                if rest.first != UInt8(ascii: ",") { break }
                rest = rest.dropFirst()
            }
            value.append(byte)
        }
        return String(decoding: value, as: UTF8.self)
    }

    /// The parts of a key between its dots. The first is a name; others may be numbers as well.
    private static func fragments(of key: ArraySlice<UInt8>) throws(QMPError) -> [String] {
        let spelling = String(decoding: key, as: UTF8.self)
        var result: [String] = []
        var rest = key
        repeat {
            let digits = result.isEmpty ? 0 : rest.prefix(while: isDigit).count
            let numbered = digits > 0 && (digits == rest.count || rest[rest.startIndex + digits] == UInt8(ascii: "."))
            let length = numbered ? digits : nameLength(rest)
            let fragment = rest.prefix(length)
            rest = rest.dropFirst(length)
            if length == 0 || !(rest.isEmpty || rest.first == UInt8(ascii: ".")) {
                throw QMPError("Invalid parameter '\(spelling)'")
            }
            let text = String(decoding: fragment, as: UTF8.self)
            if length >= fragmentLimit {
                let isWhole = length == key.count
                throw QMPError("Parameter \(isWhole ? "" : "fragment ")'\(text)' is too long")
            }
            result.append(text)
            if rest.isEmpty { return result }
            rest = rest.dropFirst()
        } while true
    }

    /// The length of the name at the start of `text`: a letter, then letters, digits, `-` and `_`; in front of that may
    /// stand `__`, a domain name, and `_`. 0 where there is no name.
    private static func nameLength(_ text: ArraySlice<UInt8>) -> Int {
        var rest = text
        if rest.starts(with: "__".utf8) {
            rest = rest.dropFirst(2)
            let domain = rest.prefix {
                isLetter($0) || isDigit($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: ".")
            }
            rest = rest.dropFirst(domain.count)
            guard !domain.isEmpty, rest.first == UInt8(ascii: "_") else { return 0 }
            rest = rest.dropFirst()
        }
        guard let first = rest.first, isLetter(first) else { return 0 }
        let name = rest.prefix {
            isLetter($0) || isDigit($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_")
        }
        return text.count - rest.count + name.count
    }

    static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

    private static func isLetter(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
    }
}
