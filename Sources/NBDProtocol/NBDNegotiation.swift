/// The server's side of option haggling, as a state machine without I/O.
///
/// Give each message of the client to ``handle(_:exports:)`` and do what the returned step says. No client input
/// traps; every option is answered, or ends the connection where the specification has no other way.
/// Error texts are those of QEMU's server. Spec: nbd-protocol.md, "Fixed newstyle negotiation".
public struct NBDNegotiation: Sendable {
    /// What to do after a message.
    public struct Step: Sendable, Hashable {
        /// Bytes to send first; may be empty.
        public var reply: [UInt8]
        /// What comes then.
        public var next: Next
    }

    /// What comes after the reply was sent.
    public enum Next: Sendable, Hashable {
        /// Wait for the next message.
        case option
        /// Negotiation is over: serve requests.
        case transmission(NBDSession)
        /// Close the connection; the text says why, nil if the client wanted it.
        case close(String?)
    }

    var flags: NBDHandshakeFlags = []
    var headers: NBDHeaderMode = .simple
    /// The last successful choice of contexts, and the export that it was for.
    var selection: (export: String, contexts: [NBDMetaContext])?

    /// Makes the state of a connection that has just been greeted.
    public init() {}

    /// Reacts to one message, given the exports as they are now.
    public mutating func handle(_ message: NBDHandshakeDecoder.Message, exports: [NBDExportInfo]) -> Step {
        switch message {
        case .flags(let bits):
            flags = NBDHandshakeFlags(rawValue: UInt16(truncatingIfNeeded: bits))
            return Step(reply: [], next: .option)
        case .oversizedOption(let code, let length):
            guard flags.contains(.fixedNewstyle), code != NBDOption.exportName.rawValue else {
                return Step(reply: [], next: .close("Bad length received"))
            }
            return fail(code, .tooBig, "option data of \(length) bytes is too large")
        case .option(let code, let data):
            return handle(code, data, exports)
        }
    }

    private mutating func handle(_ code: UInt32, _ data: [UInt8], _ exports: [NBDExportInfo]) -> Step {
        let option = NBDOption(rawValue: code)
        guard flags.contains(.fixedNewstyle) || option == .exportName else {
            return Step(reply: [], next: .close(unsupportedText(code)))
        }
        switch option {
        case .exportName: return exportName(data, exports)
        case .abort: return Step(reply: reply(code, .ack), next: .close(nil))
        case .list: return noData(.list, data) ?? list(exports)
        case .startTLS: return noData(.startTLS, data) ?? fail(code, .policy, "TLS not configured")
        case .info: return inform(.info, data, exports)
        case .go: return inform(.go, data, exports)
        case .structuredReply: return noData(.structuredReply, data) ?? structuredReply()
        case .extendedHeaders: return noData(.extendedHeaders, data) ?? extendedHeaders()
        case .listMetaContext: return metaContext(.listMetaContext, data, exports)
        case .setMetaContext: return metaContext(.setMetaContext, data, exports)
        case nil: return fail(code, .unsupported, unsupportedText(code))
        }
    }

    private func exportName(_ data: [UInt8], _ exports: [NBDExportInfo]) -> Step {
        guard data.count <= NBD.maximumStringLength else { return Step(reply: [], next: .close("Bad length received")) }
        guard let export = exports.first(where: { $0.name.utf8.elementsEqual(data) }) else {
            return Step(reply: [], next: .close("export not found"))
        }
        var bytes: [UInt8] = []
        bytes.appendBigEndian(export.size)
        bytes.appendBigEndian(export.transmissionFlags(headers).rawValue)
        if !flags.contains(.noZeroes) {
            bytes.append(contentsOf: repeatElement(0, count: NBD.exportNamePadding))
        }
        return Step(reply: bytes, next: .transmission(session(export, minimumBlock: 1)))
    }

    private func list(_ exports: [NBDExportInfo]) -> Step {
        var bytes: [UInt8] = []
        for export in exports {
            var data: [UInt8] = []
            data.appendBigEndian(UInt32(truncatingIfNeeded: export.name.utf8.count))
            data.append(contentsOf: export.name.utf8)
            data.append(contentsOf: (export.description ?? "").utf8)
            bytes += reply(NBDOption.list.rawValue, .server, data)
        }
        return Step(reply: bytes + reply(NBDOption.list.rawValue, .ack), next: .option)
    }

    private mutating func structuredReply() -> Step {
        let code = NBDOption.structuredReply.rawValue
        switch headers {
        case .simple:
            headers = .structured
            return Step(reply: reply(code, .ack), next: .option)
        case .structured: return fail(code, .invalid, "structured reply already negotiated")
        case .extended: return fail(code, .extendedHeaderRequired, "extended headers already negotiated")
        }
    }

    private mutating func extendedHeaders() -> Step {
        let code = NBDOption.extendedHeaders.rawValue
        guard headers != .extended else { return fail(code, .invalid, "extended headers already negotiated") }
        headers = .extended
        return Step(reply: reply(code, .ack), next: .option)
    }

    /// The session with `export`: the contexts count only if they were selected for the same export.
    func session(_ export: NBDExportInfo, minimumBlock: UInt32) -> NBDSession {
        var contexts: [NBDMetaContext] = []
        if let selection, headers != .simple, selection.export == export.name {
            let offered = Set(export.contexts)
            contexts = selection.contexts.filter(offered.contains)
        }
        return NBDSession(export: export, headers: headers, contexts: contexts, minimumBlock: minimumBlock)
    }
}
