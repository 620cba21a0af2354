import JSON
import QAPI

/// A command that a client wants executed.
///
/// Spec: qmp-spec.rst, "Issuing Commands".
public struct Request: Sendable, Hashable {
    /// The name of the command.
    public var command: String
    /// The arguments; empty where the client gave none.
    public var arguments: JSONObject
    /// What the reply has to repeat, if anything.
    public var id: JSON?
    /// Whether the command may overtake others.
    public var isOutOfBand: Bool

    /// A request with the given parts.
    public init(_ command: String, arguments: JSONObject = [:], id: JSON? = nil, isOutOfBand: Bool = false) {
        self.command = command
        self.arguments = arguments
        self.id = id
        self.isOutOfBand = isOutOfBand
    }

    /// Checks that a message from a client is a request.
    /// - Parameters:
    ///   - message: The message.
    ///   - isOOBEnabled: Whether the client enabled out-of-band execution.
    /// - Throws: The error to report, with QEMU's text, for a message that is no object, lacks a command, or has a
    ///   member that is unknown or of the wrong type.
    public init(checking message: JSON, isOOBEnabled: Bool) throws(QMPError) {
        guard case .object(let object) = message else { throw QMPError("QMP input must be a JSON object") }
        self.init("", id: object["id"])
        var kind: String?
        for position in QDictOrder.positions(of: object.members.lazy.map(\.name)) {
            let (name, value) = object.members[position]
            switch name {
            case "execute",
                "exec-oob" where isOOBEnabled:
                guard case .string(let command) = value else {
                    throw QMPError("QMP input member '\(name)' must be a string")
                }
                if let kind { throw QMPError("QMP input member '\(name)' clashes with '\(kind)'") }
                kind = name
                self.command = command
            case "arguments":
                guard case .object(let arguments) = value else {
                    throw QMPError("QMP input member 'arguments' must be an object")
                }
                self.arguments = arguments
            case "id": break
            default: throw QMPError("QMP input member '\(name)' is unexpected")
            }
        }
        guard let kind else { throw QMPError("QMP input lacks member 'execute'") }
        isOutOfBand = kind == "exec-oob"
    }

    /// The message that asks a server for this.
    public var message: JSONObject {
        var object: JSONObject = [isOutOfBand ? "exec-oob" : "execute": .string(command)]
        if !arguments.isEmpty { object["arguments"] = .object(arguments) }
        object["id"] = id
        return object
    }
}

extension MessageSplitter.Item {
    /// What a reply to this message has to repeat, if anything.
    public var id: JSON? {
        guard case .value(.object(let object)) = self else { return nil }
        return object["id"]
    }
}
