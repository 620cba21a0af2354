/// Writes the replies of the transmission phase, in the shape that the session's headers ask for.
///
/// Each function appends the header of one reply or chunk, and where it says so its whole payload, to `out`, which must
/// have ``maximumHeaderSize`` bytes free besides what the function names. Payload data is not copied: send it after.
public struct NBDReplyEncoder: Sendable, Hashable {
    /// The agreed headers.
    public let headers: NBDHeaderMode

    /// The most bytes that a header takes, with an offset or a hole.
    public static let maximumHeaderSize = NBD.extendedReplySize + 12
    /// Longest text that an error reply carries; longer texts are cut.
    public static let maximumMessage = 400
    /// The most bytes of an error reply.
    public static let maximumErrorSize = NBD.extendedReplySize + 6 + maximumMessage

    /// Makes an encoder.
    public init(headers: NBDHeaderMode) { self.headers = headers }

    /// The reply to a successful request that returns nothing, or to a read of no bytes.
    public func success(_ request: NBDRequest, to out: inout OutputRawSpan) {
        let needsChunk = request.command == .read || request.command == .blockStatus
        switch headers {
        case .structured where needsChunk: chunk(.none, .done, request, length: 0, to: &out)
        case .simple, .structured: simple(0, request, to: &out)
        case .extended: chunk(.none, .done, request, length: 0, to: &out)
        }
    }

    /// The final reply to a failed request; `message` goes out if the headers can carry it.
    public func failure(_ request: NBDRequest, _ error: NBDError, _ message: String = "", to out: inout OutputRawSpan) {
        guard headers != .simple else { return simple(error.rawValue, request, to: &out) }
        let text = Self.shortened(message)
        chunk(.error, .done, request, length: 6 + text.utf8.count, to: &out)
        out.appendBigEndian(error.rawValue)
        out.appendBigEndian(UInt16(truncatingIfNeeded: text.utf8.count))
        out.append(utf8: text.utf8)
    }

    /// A chunk that reports an error at `offset`, final or with more chunks to come. Not for simple replies.
    public func failure(
        _ request: NBDRequest, _ error: NBDError, at offset: UInt64, flags: NBDReplyFlags, to out: inout OutputRawSpan
    ) {
        chunk(.errorOffset, flags, request, length: 14, to: &out)
        out.appendBigEndian(error.rawValue)
        out.appendBigEndian(UInt16(0))
        out.appendBigEndian(offset)
    }

    /// The header of `count` data bytes at `offset`, which must follow. With simple replies they are all of the read.
    public func data(
        _ request: NBDRequest, offset: UInt64, count: Int, flags: NBDReplyFlags, to out: inout OutputRawSpan
    ) {
        guard headers != .simple else { return simple(0, request, to: &out) }
        chunk(.offsetData, flags, request, length: 8 + count, to: &out)
        out.appendBigEndian(offset)
    }

    /// A chunk that says that `count` bytes at `offset` read as zeroes. Not for simple replies.
    public func hole(
        _ request: NBDRequest, offset: UInt64, count: UInt32, flags: NBDReplyFlags, to out: inout OutputRawSpan
    ) {
        chunk(.offsetHole, flags, request, length: 12, to: &out)
        out.appendBigEndian(offset)
        out.appendBigEndian(count)
    }

    /// The chunk with the extents of one context, whole; see ``size(of:)``. Not for simple replies.
    public func blockStatus(
        _ request: NBDRequest, _ context: NBDMetaContext, _ extents: [NBDExtent], flags: NBDReplyFlags,
        to out: inout OutputRawSpan
    ) {
        let payload = size(of: extents) - headers.replyChunkSize
        if headers == .extended {
            chunk(.blockStatusExtended, flags, request, length: payload, to: &out)
            out.appendBigEndian(context.id)
            out.appendBigEndian(UInt32(truncatingIfNeeded: extents.count))
            for extent in extents {
                out.appendBigEndian(extent.length)
                out.appendBigEndian(UInt64(extent.status))
            }
        } else {
            chunk(.blockStatus, flags, request, length: payload, to: &out)
            out.appendBigEndian(context.id)
            for extent in extents {
                out.appendBigEndian(UInt32(truncatingIfNeeded: extent.length))
                out.appendBigEndian(extent.status)
            }
        }
    }

    /// Bytes that ``blockStatus(_:_:_:flags:to:)`` appends.
    public func size(of extents: [NBDExtent]) -> Int {
        headers.replyChunkSize + (headers == .extended ? 8 + 16 * extents.count : 4 + 8 * extents.count)
    }

    private func simple(_ error: UInt32, _ request: NBDRequest, to out: inout OutputRawSpan) {
        out.appendBigEndian(NBD.simpleReplyMagic)
        out.appendBigEndian(error)
        out.appendBigEndian(request.cookie)
    }

    private func chunk(
        _ type: NBDReplyType, _ flags: NBDReplyFlags, _ request: NBDRequest, length: Int, to out: inout OutputRawSpan
    ) {
        out.appendBigEndian(headers == .extended ? NBD.extendedReplyMagic : NBD.structuredReplyMagic)
        out.appendBigEndian(flags.rawValue)
        out.appendBigEndian(type.rawValue)
        out.appendBigEndian(request.cookie)
        if headers == .extended {
            out.appendBigEndian(request.offset)
            out.appendBigEndian(UInt64(length))
        } else {
            out.appendBigEndian(UInt32(truncatingIfNeeded: length))
        }
    }

    /// The longest prefix of whole characters that fits in an error reply.
    private static func shortened(_ text: String) -> Substring {
        guard text.utf8.count > maximumMessage else { return Substring(text) }
        var result = text.prefix(maximumMessage)
        while result.utf8.count > maximumMessage { result.removeLast() }
        return result
    }
}

extension NBDHeaderMode {
    /// Bytes of the header of a reply chunk.
    var replyChunkSize: Int { self == .extended ? NBD.extendedReplySize : NBD.structuredReplySize }
}
