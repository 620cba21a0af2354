import JSON
import QAPI

/// The server's side of one connection as a state machine: capability negotiation and what each message asks for.
///
/// Spec: qmp-spec.rst, "Capabilities Negotiation".
public struct Session: Sendable {
    /// What the server has to do about a message.
    public enum Action: Sendable, Hashable {
        /// Send this reply.
        case reply(Reply)
        /// Execute this command and send a reply with its `id`.
        case run(Request)
    }

    /// The number of in-band messages that the server takes before it stops reading, with out-of-band execution.
    public static let queueLimit = 8

    /// Whether the client has negotiated, so that commands are executed and events are sent.
    public private(set) var isNegotiated = false
    /// Whether the client enabled out-of-band execution.
    public private(set) var isOOBEnabled = false

    /// A session that has just begun: it expects `qmp_capabilities`.
    public init() {}

    /// The number of in-band messages that may wait for their turn or be executed, together.
    public var queueLimit: Int { isOOBEnabled ? Self.queueLimit : 1 }

    /// Whether a message is to be begun at once rather than after those before it.
    public func overtakes(_ item: MessageSplitter.Item) -> Bool {
        guard isOOBEnabled, case .value(.object(let object)) = item else { return false }
        return object["exec-oob"] != nil && object["execute"] == nil
    }

    /// Decides what to do about a message whose turn has come.
    public mutating func begin(_ item: MessageSplitter.Item) -> Action {
        do throws(QMPError) {
            switch item {
            case .malformed(let error): throw error
            case .value(let message): return try begin(Request(checking: message, isOOBEnabled: isOOBEnabled))
            }
        } catch {
            return .reply(Reply(.failure(error), id: item.id))
        }
    }

    private mutating func begin(_ request: Request) throws(QMPError) -> Action {
        if request.command == "qmp_capabilities" && !request.isOutOfBand {
            let wantsOOB = try Self.negotiate(request.arguments)
            if isNegotiated {
                throw QMPError(.commandNotFound, "Capabilities negotiation is already complete, command ignored")
            }
            isNegotiated = true
            isOOBEnabled = wantsOOB
            return .reply(Reply(.success([:]), id: request.id))
        }
        if !isNegotiated {
            throw QMPError(.commandNotFound, "Expecting capabilities negotiation with 'qmp_capabilities'")
        }
        return .run(request)
    }

    /// Checks the arguments of `qmp_capabilities`.
    /// - Returns: Whether they enable out-of-band execution.
    private static func negotiate(_ arguments: JSONObject) throws(QMPError) -> Bool {
        var members = try QAPIMembers(of: QAPIValue(.object(arguments)))
        let enable: [Capability]? = try members.optional("enable")
        try members.finish()
        return enable?.contains(.oob) == true
    }
}

/// What a server can offer beyond the base of the protocol; the raw value is the name on the wire.
public enum Capability: String, QAPIEnum {
    /// Out-of-band execution of commands.
    case oob
}
