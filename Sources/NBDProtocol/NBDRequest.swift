/// One request of the transmission phase, as read from its header.
public struct NBDRequest: Sendable, Hashable {
    /// Flags as sent.
    public var flags: NBDCommandFlags
    /// The command as sent; ``command`` names it.
    public var type: UInt16
    /// The client's mark, echoed in each reply.
    public var cookie: UInt64
    /// Offset in the export, in bytes.
    public var offset: UInt64
    /// Length of the range, in bytes; of the payload where one follows.
    public var length: UInt64

    /// Makes a request from its fields.
    public init(flags: NBDCommandFlags = [], type: UInt16, cookie: UInt64, offset: UInt64, length: UInt64) {
        self.flags = flags
        self.type = type
        self.cookie = cookie
        self.offset = offset
        self.length = length
    }

    /// The command, or nil if this server does not know it.
    public var command: NBDCommand? { NBDCommand(rawValue: type) }

    /// What decoding a header came to.
    public enum Decoded: Sendable, Hashable {
        /// The header is not complete yet.
        case needMore
        /// A request; `size` bytes were its header, and its payload, if any, follows.
        case request(NBDRequest, size: Int)
    }

    /// Reads the request at the start of `bytes`.
    ///
    /// - Throws: ``NBDFatalError/badMagic(_:)`` if no request of the agreed kind starts there; the stream is then lost.
    public static func decode(_ bytes: RawSpan, headers: NBDHeaderMode) throws(NBDFatalError) -> Decoded {
        guard bytes.byteCount >= 4 else { return .needMore }
        let magic = bytes.bigEndian(at: 0, as: UInt32.self)
        let expected = headers == .extended ? NBD.extendedRequestMagic : NBD.requestMagic
        guard magic == expected else { throw .badMagic(UInt64(magic)) }
        guard bytes.byteCount >= headers.requestSize else { return .needMore }
        let length =
            headers == .extended
            ? bytes.bigEndian(at: 24, as: UInt64.self) : UInt64(bytes.bigEndian(at: 24, as: UInt32.self))
        let request = NBDRequest(
            flags: NBDCommandFlags(rawValue: bytes.bigEndian(at: 4, as: UInt16.self)),
            type: bytes.bigEndian(at: 6, as: UInt16.self),
            cookie: bytes.bigEndian(at: 8, as: UInt64.self),
            offset: bytes.bigEndian(at: 16, as: UInt64.self),
            length: length)
        return .request(request, size: headers.requestSize)
    }

    /// Appends the header of this request, as a client sends it; a compact one cuts the length to 32 bits.
    public func encode(headers: NBDHeaderMode, to out: inout OutputRawSpan) {
        out.appendBigEndian(headers == .extended ? NBD.extendedRequestMagic : NBD.requestMagic)
        out.appendBigEndian(flags.rawValue)
        out.appendBigEndian(type)
        out.appendBigEndian(cookie)
        out.appendBigEndian(offset)
        if headers == .extended {
            out.appendBigEndian(length)
        } else {
            out.appendBigEndian(UInt32(truncatingIfNeeded: length))
        }
    }

    /// Bytes of payload that follow the header.
    ///
    /// They must be read, or the connection closed, even if the request is refused.
    public func payloadLength(_ headers: NBDHeaderMode) -> UInt64 {
        if command == .write { return length }
        return headers == .extended && flags.contains(.payloadLength) ? length : 0
    }
}
