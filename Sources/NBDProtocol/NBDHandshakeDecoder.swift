/// Cuts the bytes that a client sends while negotiating into messages.
///
/// Feed bytes with ``append(_:)`` in pieces of any size, and take messages with ``next()`` until it returns nil.
/// At most ``NBD/maximumOptionData`` bytes of one option are stored; longer data is skipped as it comes in.
public struct NBDHandshakeDecoder: Sendable {
    /// One message of the client.
    public enum Message: Sendable, Hashable {
        /// The client's handshake flags: 32 bits, the first message.
        case flags(UInt32)
        /// An option with its data.
        case option(UInt32, data: [UInt8])
        /// An option whose data of `length` bytes was too long to be stored, and is skipped.
        case oversizedOption(UInt32, length: UInt32)
    }

    private var buffer: [UInt8] = []
    private var position = 0
    private var flagsSeen = false
    private var toSkip = 0

    /// Makes a decoder that expects the client's flags.
    public init() {}

    /// Adds received bytes.
    public mutating func append(_ bytes: some Sequence<UInt8>) {
        if position > 0 {
            buffer.removeSubrange(..<position)
            position = 0
        }
        buffer.append(contentsOf: bytes)
        skip()
    }

    /// The next whole message, or nil when more bytes are needed.
    ///
    /// - Throws: ``NBDFatalError`` if the stream makes no sense; the connection must then be closed.
    public mutating func next() throws(NBDFatalError) -> Message? {
        guard toSkip == 0 else { return nil }
        guard flagsSeen else { return try nextFlags() }
        let available = buffer.count - position
        guard available >= NBD.optionHeaderSize else { return nil }
        let magic = integer(at: 0, UInt64.self)
        let option = integer(at: 8, UInt32.self)
        let length = integer(at: 12, UInt32.self)
        guard magic == NBD.optionMagic else { throw .badMagic(magic) }
        guard length <= NBD.maximumPayload else { throw .optionTooLong(length) }
        guard length <= NBD.maximumOptionData else {
            position += NBD.optionHeaderSize
            toSkip = Int(length)
            skip()
            return .oversizedOption(option, length: length)
        }
        let end = NBD.optionHeaderSize + Int(length)
        guard available >= end else { return nil }
        let data = Array(buffer[position + NBD.optionHeaderSize..<position + end])
        position += end
        return .option(option, data: data)
    }

    /// Hands over the bytes after the last message, which belong to the transmission phase, and empties the decoder.
    public mutating func takeRemainder() -> [UInt8] {
        let rest = Array(buffer[position...])
        buffer = []
        position = 0
        return rest
    }

    private mutating func nextFlags() throws(NBDFatalError) -> Message? {
        guard buffer.count - position >= 4 else { return nil }
        let flags = integer(at: 0, UInt32.self)
        let known = NBDHandshakeFlags.fixedNewstyle.union(.noZeroes).rawValue
        guard flags & ~UInt32(known) == 0 else { throw .unknownClientFlags(flags) }
        position += 4
        flagsSeen = true
        return .flags(flags)
    }

    private mutating func skip() {
        let count = min(toSkip, buffer.count - position)
        toSkip -= count
        position += count
    }

    private func integer<T: FixedWidthInteger>(at offset: Int, _ type: T.Type) -> T {
        var value: T = 0
        for byte in buffer[position + offset..<position + offset + T.bitWidth / 8] {
            value = value << 8 | T(truncatingIfNeeded: byte)
        }
        return value
    }
}
