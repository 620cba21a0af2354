/// Splits the bytes of a stream into the tokens of QMP's dialect of JSON.
///
/// Beside JSON it takes strings in single quotes. A byte that no token can hold or begin with makes a `stray` token;
/// what follows is then skipped up to the next bracket, brace, comma, colon, line end or control character, so that a
/// control character, 0xFE or 0xFF always leads back to a known state.
struct Lexer: Sendable {
    /// A token; its bytes are in `bytes`.
    enum Token: Sendable, Equatable {
        /// One of `{ } [ ] , :`.
        case punctuation(UInt8)
        /// A string with its quotes.
        case string
        /// A number in JSON's grammar.
        case number
        /// Lower-case letters.
        case keyword
        /// Bytes that are no token.
        case stray
        /// A token beyond `Limits.tokenBytes`; its bytes are gone.
        case tooLong
    }

    private enum State: Sendable {
        case start
        case string(quote: UInt8)
        case escape(quote: UInt8)
        case minus
        case zero
        case digits
        case point
        case fraction
        case exponentMark
        case exponentSign
        case exponent
        case keyword
        case recovery
    }

    /// The bytes of the token that `next` returned last.
    private(set) var bytes: [UInt8] = []
    /// Where that token begins.
    private(set) var location = SourceLocation()

    private var state = State.start
    private var cursor = SourceLocation()
    /// A byte that ended a token without belonging to it.
    private var lookahead: UInt8?

    /// Whether no token is under way.
    var isBetweenTokens: Bool {
        if case .start = state { return true }
        return false
    }

    /// The next token that ends within `input`, nil where more input is needed.
    /// - Parameters:
    ///   - input: The bytes that came in.
    ///   - position: The index of the next byte to look at; moved over those used.
    mutating func next(in input: [UInt8], at position: inout Int) -> Token? {
        if let byte = lookahead {
            lookahead = nil
            if let token = step(byte, isLookahead: true) { return token }
        }
        while position < input.count {
            if case .string(let quote) = state, let token = takeStringBytes(quote, input, &position) { return token }
            if position == input.count { return nil }
            let byte = input[position]
            position += 1
            cursor.advance(over: byte)
            if let token = step(byte, isLookahead: false) { return token }
        }
        return nil
    }

    /// Takes a run of ordinary bytes of a string.
    /// - Returns: `tooLong` where the string has grown beyond the limit.
    private mutating func takeStringBytes(_ quote: UInt8, _ input: [UInt8], _ position: inout Int) -> Token? {
        let start = position
        while position < input.count, Self.isPlain(input[position], in: quote) { position += 1 }
        cursor.column += position - start
        bytes.append(contentsOf: input[start..<position])
        return checkLength()
    }

    /// Whether a byte stands for itself in a string, whatever comes before it.
    private static func isPlain(_ byte: UInt8, in quote: UInt8) -> Bool {
        byte >= 0x20 && byte < 0xFE && byte != quote && byte != UInt8(ascii: "\\")
    }

    /// Whether a byte always leads back to a known state.
    private static func isControl(_ byte: UInt8) -> Bool {
        byte < 0x20 || byte >= 0xFE
    }

    private mutating func step(_ byte: UInt8, isLookahead: Bool) -> Token? {
        switch state {
        case .start: return start(byte, isLookahead)
        case .recovery: return recover(byte)
        case .string(let quote): return string(byte, quote)
        case .escape(let quote):
            if Self.isControl(byte) { return stray(byte) }
            return take(byte, .string(quote: quote))
        case .keyword:
            if (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) { return take(byte, .keyword) }
            return finish(.keyword, before: byte)
        default: return number(byte)
        }
    }

    private mutating func start(_ byte: UInt8, _ isLookahead: Bool) -> Token? {
        switch byte {
        case UInt8(ascii: " "), UInt8(ascii: "\t"), UInt8(ascii: "\r"), UInt8(ascii: "\n"): return nil
        default: break
        }
        bytes.removeAll(keepingCapacity: bytes.capacity <= 4096)
        location = cursor
        if isLookahead { location.column += 1 }
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "'"): return take(byte, .string(quote: byte))
        case UInt8(ascii: "-"): return take(byte, .minus)
        case UInt8(ascii: "0"): return take(byte, .zero)
        case UInt8(ascii: "1")...UInt8(ascii: "9"): return take(byte, .digits)
        case UInt8(ascii: "a")...UInt8(ascii: "z"): return take(byte, .keyword)
        case _ where Self.isPunctuation(byte):
            bytes.append(byte)
            return .punctuation(byte)
        default: return stray(byte)
        }
    }

    private static func isPunctuation(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "{"), UInt8(ascii: "}"), UInt8(ascii: "["), UInt8(ascii: "]"), UInt8(ascii: ","),
            UInt8(ascii: ":"):
            true
        default: false
        }
    }

    private mutating func recover(_ byte: UInt8) -> Token? {
        switch byte {
        case UInt8(ascii: "\n"), UInt8(ascii: "\r"): state = .start
        case UInt8(ascii: "\t"): break
        case _ where Self.isPunctuation(byte) || Self.isControl(byte):
            state = .start
            return start(byte, true)
        default: break
        }
        return nil
    }

    private mutating func string(_ byte: UInt8, _ quote: UInt8) -> Token? {
        switch byte {
        case quote:
            bytes.append(byte)
            state = .start
            return checkLength() ?? .string
        case UInt8(ascii: "\\"): return take(byte, .escape(quote: quote))
        default: return stray(byte)
        }
    }

    private mutating func number(_ byte: UInt8) -> Token? {
        let isDigit = (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
        let isExponentMark = byte == UInt8(ascii: "e") || byte == UInt8(ascii: "E")
        let isSign = byte == UInt8(ascii: "-") || byte == UInt8(ascii: "+")
        let isPoint = byte == UInt8(ascii: ".")
        switch state {
        case .minus where byte == UInt8(ascii: "0"): return take(byte, .zero)
        case .minus where isDigit: return take(byte, .digits)
        case .zero where isDigit: return stray(byte)
        case .digits where isDigit: return take(byte, .digits)
        case .zero where isPoint, .digits where isPoint: return take(byte, .point)
        case .point where isDigit, .fraction where isDigit: return take(byte, .fraction)
        case .zero where isExponentMark, .digits where isExponentMark, .fraction where isExponentMark:
            return take(byte, .exponentMark)
        case .exponentMark where isSign: return take(byte, .exponentSign)
        case .exponentMark where isDigit, .exponentSign where isDigit, .exponent where isDigit:
            return take(byte, .exponent)
        case .zero, .digits, .fraction, .exponent: return finish(.number, before: byte)
        default: return stray(byte)
        }
    }

    private mutating func take(_ byte: UInt8, _ next: State) -> Token? {
        bytes.append(byte)
        state = next
        return checkLength()
    }

    private mutating func finish(_ token: Token, before byte: UInt8) -> Token {
        lookahead = byte
        state = .start
        return token
    }

    private mutating func stray(_ byte: UInt8) -> Token {
        bytes.append(byte)
        state = .recovery
        return .stray
    }

    private mutating func checkLength() -> Token? {
        guard bytes.count > Limits.tokenBytes else { return nil }
        bytes = []
        state = .recovery
        return .tooLong
    }
}
