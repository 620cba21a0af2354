import JSON
import QAPI

/// The answer to a command or to a malformed message.
///
/// Spec: qmp-spec.rst, "Commands Responses".
public struct Reply: Sendable, Hashable {
    /// What the command returned, or why there is nothing.
    public var result: Result<JSON, QMPError>
    /// The `id` of the request, if it had one.
    public var id: JSON?

    /// A reply with the given parts.
    public init(_ result: Result<JSON, QMPError>, id: JSON? = nil) {
        self.result = result
        self.id = id
    }

    /// The message to send.
    public var message: JSONObject {
        var object: JSONObject
        switch result {
        case .success(let value): object = ["return": value]
        case .failure(let error):
            object = [
                "error": ["class": .string(error.errorClass.rawValue), "desc": .string(error.description)]
            ]
        }
        object["id"] = id
        return object
    }
}

/// Something that happened in the server, as clients learn of it.
///
/// Spec: qmp-spec.rst, "Asynchronous events".
public struct Event: Sendable, Hashable {
    /// The name, in upper case.
    public var name: String
    /// What there is to tell, nil for an event without data.
    public var data: JSONObject?
    /// When it happened: seconds since 1970, -1 where unknown.
    public var seconds: Int64
    /// The microseconds beyond `seconds`.
    public var microseconds: Int64

    /// An event with the given parts.
    public init(_ name: String, data: JSONObject? = nil, seconds: Int64, microseconds: Int64) {
        self.name = name
        self.data = data
        self.seconds = seconds
        self.microseconds = microseconds
    }

    /// The message to send.
    public var message: JSONObject {
        var object: JSONObject = [
            "timestamp": ["seconds": .integer(seconds), "microseconds": .integer(microseconds)],
            "event": .string(name),
        ]
        object["data"] = data.map(JSON.object)
        return object
    }
}

/// What a server sends when a client connects.
///
/// Spec: qmp-spec.rst, "Server Greeting".
public struct Greeting: Sendable, Hashable {
    /// What `query-version` returns.
    public var version: JSONObject
    /// The capabilities that can be enabled.
    public var capabilities: [String]

    /// A greeting with the given parts.
    public init(version: JSONObject, capabilities: [Capability] = Capability.allCases) {
        self.version = version
        self.capabilities = capabilities.map(\.rawValue)
    }

    /// The message to send.
    public var message: JSONObject {
        ["QMP": ["version": .object(version), "capabilities": .array(capabilities.map(JSON.string))]]
    }
}

extension JSONObject {
    /// The bytes of a message of the protocol: see `JSONWriter`; CR LF ends it.
    public func wireBytes(pretty: Bool = false) -> [UInt8] {
        var writer = JSONWriter(pretty: pretty)
        writer.value(self, order: .qdict)
        writer.endMessage()
        return writer.bytes
    }
}
