import JSON
import QAPI

/// Splits the byte stream of a QMP connection into JSON values and errors.
///
/// Values may follow each other without separator and arrive in pieces of any size; a value is complete as soon as its
/// last byte is there, except that a number or keyword at the outermost level ends with the byte after it. After an
/// error the splitter skips to where the brackets opened so far are closed; a control character, 0xFE or 0xFF makes it
/// drop everything at once. The texts and places of errors are those of QEMU 11.1. Memory is bounded by `Limits`.
public struct MessageSplitter: Sendable {
    /// What the stream holds.
    public enum Item: Sendable, Hashable {
        /// A complete value of any kind.
        case value(JSON)
        /// Something that is no value; the error is the one to report to the client.
        case malformed(QMPError)
    }

    private var lexer = Lexer()
    private var builder = ValueBuilder()
    private var input: [UInt8] = []
    private var position = 0

    /// A splitter at the beginning of a stream.
    public init() {}

    /// Whether all that was fed has been used, and no value is under way.
    public var isBetweenValues: Bool { position == input.count && lexer.isBetweenTokens && builder.isBetweenValues }

    /// Adds bytes to the stream. They are kept until `next` has used them, so call this when `next` has returned nil.
    public mutating func feed(_ bytes: some Sequence<UInt8>) {
        if position == input.count {
            input.removeAll(keepingCapacity: true)
            position = 0
        }
        input.append(contentsOf: bytes)
    }

    /// The next thing in the stream, nil where more bytes are needed. No byte behind it is looked at.
    public mutating func next() -> Item? {
        while let token = lexer.next(in: input, at: &position) {
            if let item = builder.add(token, from: lexer) { return item }
        }
        return nil
    }
}
