/// Why a request is refused: what to put in its error reply.
public struct NBDRefusal: Error, Sendable, Hashable {
    /// The error value.
    public var error: NBDError
    /// The text for clients that negotiated structured replies.
    public var message: String
    /// Whether the connection must be closed after the reply, since the payload is too long to be skipped.
    public var isFatal: Bool

    /// Makes a refusal.
    public init(_ error: NBDError, _ message: String, isFatal: Bool = false) {
        self.error = error
        self.message = message
        self.isFatal = isFatal
    }
}

extension NBDRefusal {
    /// The refusal of a block status request whose payload has the wrong length or wrong ids.
    public static let invalidStatusPayload = NBDRefusal(.invalid, "CMD_BLOCK_STATUS payload not valid")
}

extension NBDRequest {
    /// Checks this request against what was negotiated, in the order in which QEMU's server checks.
    ///
    /// A block status request with a payload passes here on its header only; ``narrowed(by:session:)`` checks the rest.
    /// - Returns: nil if the request may be executed, else the refusal:
    ///   `NBD_EPERM` for a change of a read-only export, `NBD_ENOSPC` for a write beyond the end, `NBD_EINVAL` for
    ///   everything else. Spec: nbd-protocol.md, "Error values" and "Request types".
    public func refusal(_ session: NBDSession) -> NBDRefusal? {
        let limit = UInt64(session.export.maximumPayload)
        let payload = payloadLength(session.headers)
        if payload > limit {
            return NBDRefusal(.invalid, tooLong(payload, limit), isFatal: true)
        }
        guard let command else {
            if !flags.subtracting(.fua).isEmpty { return unsupportedFlags("<unknown>") }
            return NBDRefusal(.invalid, "invalid request type (\(type)) received")
        }
        switch command {
        case .disconnect: return nil
        case .flush: return flagsRefusal(command, session)
        case .read, .cache:
            if length > limit { return NBDRefusal(.invalid, tooLong(length, limit)) }
        case .write, .trim, .writeZeroes:
            if !session.export.isWritable { return NBDRefusal(.permission, "Export is read-only") }
        case .blockStatus:
            if flags.contains(.payloadLength), session.headers == .extended { return flagsRefusal(command, session) }
        }
        return rangeRefusal(command, session) ?? flagsRefusal(command, session) ?? statusRefusal(command, session)
    }

    /// The request and the contexts that the payload of an extended block status request asks for.
    ///
    /// The payload holds the length of the range in 64 bits, and one or more context ids of 32 bits.
    /// - Throws: the refusal, if ids are missing, repeated, or were not selected, or if the range is not valid.
    public func narrowed(
        by payload: RawSpan, session: NBDSession
    ) throws(NBDRefusal) -> (request: NBDRequest, contexts: [NBDMetaContext]) {
        let invalid = NBDRefusal.invalidStatusPayload
        guard Self.canNarrow(payloadLength: UInt64(payload.byteCount), session) else { throw invalid }
        var contexts: [NBDMetaContext] = []
        for offset in stride(from: 8, to: payload.byteCount, by: 4) {
            let id = payload.bigEndian(at: offset, as: UInt32.self)
            guard let context = session.contexts.first(where: { $0.id == id }), !contexts.contains(context) else {
                throw invalid
            }
            contexts.append(context)
        }
        var request = self
        request.length = payload.bigEndian(at: 0, as: UInt64.self)
        request.flags.remove(.payloadLength)
        if let refusal = request.refusal(session) { throw refusal }
        return (request, session.contexts.filter(contexts.contains))
    }

    /// Whether a block status payload of this length can be valid, and so is worth being read into memory.
    public static func canNarrow(payloadLength: UInt64, _ session: NBDSession) -> Bool {
        payloadLength >= 12 && payloadLength % 4 == 0 && payloadLength <= 8 + 4 * UInt64(session.contexts.count)
    }

    private func rangeRefusal(_ command: NBDCommand, _ session: NBDSession) -> NBDRefusal? {
        let size = session.export.size
        let (end, overflow) = offset.addingReportingOverflow(length)
        if overflow || end > size {
            let writes = command == .write || command == .writeZeroes
            let text = "operation past EOF; From: \(offset), Len: \(length), Size: \(size)"
            return NBDRefusal(writes ? .noSpace : .invalid, text)
        }
        let mask = UInt64(max(session.minimumBlock, 1)) - 1
        if offset & mask != 0 || (end & mask != 0 && end != size) {
            return NBDRefusal(
                .invalid,
                "request not aligned to the minimum block size \(session.minimumBlock); From: \(offset), Len: \(length)"
            )
        }
        return nil
    }

    private func flagsRefusal(_ command: NBDCommand, _ session: NBDSession) -> NBDRefusal? {
        var valid: NBDCommandFlags = .fua
        switch command {
        case .read:
            if session.headers != .simple { valid.insert(.dontFragment) }
        case .write:
            if session.headers == .extended { valid.insert(.payloadLength) }
        case .writeZeroes: valid.formUnion([.noHole, .fastZero])
        case .blockStatus:
            valid.insert(.requestOne)
            if session.headers == .extended { valid.insert(.payloadLength) }
        case .disconnect, .flush, .trim, .cache: break
        }
        return valid.isSuperset(of: flags) ? nil : unsupportedFlags(command.name)
    }

    private func statusRefusal(_ command: NBDCommand, _ session: NBDSession) -> NBDRefusal? {
        guard command == .blockStatus else { return nil }
        if length == 0 { return NBDRefusal(.invalid, "need non-zero length") }
        return session.contexts.isEmpty ? NBDRefusal(.invalid, "CMD_BLOCK_STATUS not negotiated") : nil
    }

    private func unsupportedFlags(_ name: String) -> NBDRefusal {
        let got = String(flags.rawValue, radix: 16)
        return NBDRefusal(.invalid, "unsupported flags for command \(name) (got 0x\(got))")
    }

    private func tooLong(_ length: UInt64, _ limit: UInt64) -> String {
        "len (\(length)) is larger than max len (\(limit))"
    }
}
