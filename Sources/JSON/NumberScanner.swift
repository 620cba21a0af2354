/// Takes out of a JSON text the numbers that libjansson cannot represent.
///
/// libjansson knows integers of 64 bits with sign and finite reals. Every other number, and every real, is replaced by
/// `0.0` in the text and kept aside; the reals that libjansson then finds are those, in the order of the text.
struct NumberScanner {
    /// The numbers kept aside.
    private(set) var values: [JSON] = []

    /// Returns the text to give to libjansson.
    mutating func scan(_ text: [UInt8]) -> [UInt8] {
        var result: [UInt8] = []
        var copied = 0
        var index = 0
        while index < text.count {
            switch text[index] {
            case UInt8(ascii: "\""):
                index = endOfString(text, from: index + 1)
            case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"):
                let start = index
                while index < text.count, Self.isNumberByte(text[index]) { index += 1 }
                guard let value = value(text[start..<index]) else { continue }
                values.append(value)
                result.append(contentsOf: text[copied..<start])
                result.append(contentsOf: "0.0".utf8)
                copied = index
            default: index += 1
            }
        }
        if copied == 0 { return text }
        result.append(contentsOf: text[copied...])
        return result
    }

    /// The index after the quote that ends a string, or the end of the text.
    private func endOfString(_ text: [UInt8], from start: Int) -> Int {
        var index = start
        while index < text.count {
            switch text[index] {
            case UInt8(ascii: "\""): return index + 1
            case UInt8(ascii: "\\"): index += 2
            default: index += 1
            }
        }
        return text.count
    }

    private static func isNumberByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "+"), UInt8(ascii: "."),
            UInt8(ascii: "e"), UInt8(ascii: "E"):
            true
        default: false
        }
    }

    /// The value of a number to keep aside; nil for one that libjansson handles, be it to refuse it.
    private func value(_ token: ArraySlice<UInt8>) -> JSON? {
        guard Self.isNumber(token) else { return nil }
        let text = String(decoding: token, as: UTF8.self)
        if Int64(text) != nil { return nil }
        if let unsigned = UInt64(text) { return .unsigned(unsigned) }
        return .number(Double(jsonText: text))
    }

    /// Whether the bytes are a number in the grammar of JSON.
    private static func isNumber(_ token: ArraySlice<UInt8>) -> Bool {
        var rest = token
        func digits() -> Int {
            let count = rest.prefix { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }.count
            rest = rest.dropFirst(count)
            return count
        }
        func take(_ characters: [UInt8]) -> Bool {
            guard let first = rest.first, characters.contains(first) else { return false }
            rest = rest.dropFirst()
            return true
        }
        _ = take([UInt8(ascii: "-")])
        let leadingZero = rest.first == UInt8(ascii: "0")
        let count = digits()
        if count == 0 || leadingZero && count > 1 { return false }
        if take([UInt8(ascii: ".")]), digits() == 0 { return false }
        if take([UInt8(ascii: "e"), UInt8(ascii: "E")]) {
            _ = take([UInt8(ascii: "+"), UInt8(ascii: "-")])
            if digits() == 0 { return false }
        }
        return rest.isEmpty
    }
}
