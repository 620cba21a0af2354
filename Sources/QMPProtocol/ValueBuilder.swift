import JSON
import QAPI

/// Checks that tokens make up JSON values, and builds these.
///
/// The tokens are written as strict JSON text, which the JSON module parses once the value is complete.
struct ValueBuilder: Sendable {
    /// What may stand next.
    private enum Expectation: Sendable {
        case value
        case valueOrEnd
        case keyOrEnd
        case key
        case colon
        case separatorOrEnd
    }

    /// An array or object that is still open.
    private struct Container: Sendable {
        let isObject: Bool
        var keys = KeySet()
    }

    private var expectation = Expectation.value
    private var containers: [Container] = []
    /// The strict text of the value.
    private var text: [UInt8] = []
    private var hasNulInKey = false
    private var tokenCount = 0
    private var byteCount = 0
    /// Whether an error was reported, so that tokens are skipped until the brackets are balanced.
    private var isSkipping = false
    /// How many braces and brackets are open; in skipped text these need not be nested properly.
    private var braces = 0
    private var brackets = 0

    /// What strict text has for U+0000 in a key, which libjansson cannot take: U+FDD0, a noncharacter that no key holds.
    private static let nulInKey: [UInt8] = [0xEF, 0xB7, 0x90]

    /// Whether no value is under way.
    var isBetweenValues: Bool { containers.isEmpty && !isSkipping }

    /// Takes a token.
    /// - Parameter lexer: Where the token came from, for its bytes and place.
    /// - Returns: The value that the token completes or the error that it makes, if any.
    mutating func add(_ token: Lexer.Token, from lexer: Lexer) -> MessageSplitter.Item? {
        if token == .stray {
            let wasSkipping = isSkipping
            reset()
            if wasSkipping { return nil }
            let bytes = lexer.bytes.prefix { $0 != 0 }
            return malformed("stray '\(ModifiedUTF8.text(bytes))'", at: lexer.location)
        }
        count(token)
        if isSkipping {
            if isBalanced { reset() }
            return nil
        }
        tokenCount += 1
        byteCount += lexer.bytes.count
        do throws(Failure) {
            try checkLimits(token)
            guard try place(token, lexer.bytes) else { return nil }
            let value = try finish()
            reset()
            return .value(value)
        } catch {
            isSkipping = true
            if isBalanced { reset() }
            switch error {
            case .limit(let text): return .malformed(QMPError(text))
            case .syntax(let reason): return malformed(reason, at: lexer.location)
            }
        }
    }

    /// Why tokens make up no value.
    private enum Failure: Error {
        case limit(String)
        case syntax(String)
    }

    private func malformed(_ reason: String, at location: SourceLocation) -> MessageSplitter.Item {
        .malformed(QMPError("\(location.line):\(location.column): JSON parse error, \(reason)"))
    }

    private mutating func reset() {
        expectation = .value
        containers.removeAll(keepingCapacity: true)
        text.removeAll(keepingCapacity: text.capacity <= 65536)
        hasNulInKey = false
        tokenCount = 0
        byteCount = 0
        isSkipping = false
        braces = 0
        brackets = 0
    }

    private var isBalanced: Bool {
        braces < 0 || brackets < 0 || braces == 0 && brackets == 0
    }

    private mutating func count(_ token: Lexer.Token) {
        switch token {
        case .punctuation(UInt8(ascii: "{")): braces += 1
        case .punctuation(UInt8(ascii: "}")): braces -= 1
        case .punctuation(UInt8(ascii: "[")): brackets += 1
        case .punctuation(UInt8(ascii: "]")): brackets -= 1
        default: break
        }
    }

    private func checkLimits(_ token: Lexer.Token) throws(Failure) {
        if token == .tooLong || byteCount > Limits.tokenBytes { throw .limit("JSON token size limit exceeded") }
        if tokenCount > Limits.tokens { throw .limit("JSON token count limit exceeded") }
        if braces + brackets > Limits.depth { throw .limit("JSON nesting depth limit exceeded") }
    }

    /// Puts a token where it belongs in the text.
    /// - Returns: Whether it completes the value.
    private mutating func place(_ token: Lexer.Token, _ bytes: [UInt8]) throws(Failure) -> Bool {
        switch (expectation, token) {
        case (.valueOrEnd, .punctuation(UInt8(ascii: "]"))), (.keyOrEnd, .punctuation(UInt8(ascii: "}"))):
            return try close(bytes)
        case (.value, _), (.valueOrEnd, _): return try placeValue(token, bytes)
        case (.key, .string), (.keyOrEnd, .string):
            try placeKey(bytes)
        case (.key, _), (.keyOrEnd, _): throw .syntax("expecting key")
        case (.colon, .punctuation(UInt8(ascii: ":"))):
            text += bytes
            expectation = .value
        case (.colon, _): throw .syntax("expecting ':'")
        case (.separatorOrEnd, _): return try placeSeparator(token, bytes)
        }
        return false
    }

    private mutating func placeValue(_ token: Lexer.Token, _ bytes: [UInt8]) throws(Failure) -> Bool {
        switch token {
        case .punctuation(UInt8(ascii: "{")):
            containers.append(Container(isObject: true))
            expectation = .keyOrEnd
            text += bytes
            return false
        case .punctuation(UInt8(ascii: "[")):
            containers.append(Container(isObject: false))
            expectation = .valueOrEnd
            text += bytes
            return false
        case .string: try placeString(bytes, nul: Array(#"\u0000"#.utf8))
        case .number: text += bytes
        case .keyword:
            let word = String(decoding: bytes, as: UTF8.self)
            guard ["true", "false", "null"].contains(word) else { throw .syntax("invalid keyword '\(word)'") }
            text += bytes
        case .punctuation, .stray, .tooLong: throw .syntax("expecting value")
        }
        return try endValue()
    }

    private mutating func placeKey(_ bytes: [UInt8]) throws(Failure) {
        let start = text.count
        if try placeString(bytes, nul: Self.nulInKey) { hasNulInKey = true }
        containers[containers.count - 1].keys.start(start..<text.count)
        expectation = .colon
    }

    private mutating func placeSeparator(_ token: Lexer.Token, _ bytes: [UInt8]) throws(Failure) -> Bool {
        let isObject = containers.last?.isObject == true
        switch token {
        case .punctuation(UInt8(ascii: ",")):
            text += bytes
            expectation = isObject ? .key : .value
            return false
        case .punctuation(isObject ? UInt8(ascii: "}") : UInt8(ascii: "]")): return try close(bytes)
        default: throw .syntax(isObject ? "expected ',' or '}'" : "expected ',' or ']'")
        }
    }

    /// - Returns: Whether the string holds U+0000.
    @discardableResult
    private mutating func placeString(_ bytes: [UInt8], nul: [UInt8]) throws(Failure) -> Bool {
        do {
            return try StringToken.append(bytes, to: &text, nul: nul)
        } catch {
            throw .syntax(error.reason)
        }
    }

    private mutating func close(_ bytes: [UInt8]) throws(Failure) -> Bool {
        containers.removeLast()
        text += bytes
        return try endValue()
    }

    /// - Returns: Whether the value that ends here is the outermost one.
    private mutating func endValue() throws(Failure) -> Bool {
        guard !containers.isEmpty else { return true }
        expectation = .separatorOrEnd
        let isNew = containers[containers.count - 1].keys.finish(in: text)
        guard isNew else { throw .syntax("duplicate key") }
        return false
    }

    /// The complete value.
    private func finish() throws(Failure) -> JSON {
        do {
            let value = try JSON(parsing: text)
            return hasNulInKey ? Self.restoreNul(in: value) : value
        } catch {
            throw .limit("JSON parse error, \(error.reason)")
        }
    }

    /// The value with the U+0000 of its keys.
    private static func restoreNul(in value: JSON) -> JSON {
        switch value {
        case .array(let elements): return .array(elements.map(restoreNul))
        case .object(let object):
            let members = object.members.map { member in
                var name = String.UnicodeScalarView()
                name.append(contentsOf: member.name.unicodeScalars.lazy.map { $0.value == 0xFDD0 ? "\0" : $0 })
                return (String(name), restoreNul(in: member.value))
            }
            return .object(JSONObject(members))
        default: return value
        }
    }
}
