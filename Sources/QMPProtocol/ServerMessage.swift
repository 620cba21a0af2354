import JSON
import QAPI

/// A message from a server, as a client sees it.
public enum ServerMessage: Sendable, Hashable {
    /// The first message of a connection.
    case greeting(Greeting)
    /// The answer to a command.
    case reply(Reply)
    /// News from the server.
    case event(Event)

    /// Tells what a message is; nil for one that is none of these.
    public init?(_ message: JSON) {
        guard case .object(let object) = message else { return nil }
        if let value = object["return"] {
            self = .reply(Reply(.success(value), id: object["id"]))
        } else if case .object(let error)? = object["error"] {
            self = .reply(Reply(.failure(QMPError(members: error)), id: object["id"]))
        } else if case .string(let name)? = object["event"] {
            self = .event(Event(name, members: object))
        } else if case .object(let greeting)? = object["QMP"] {
            self = .greeting(Greeting(members: greeting))
        } else {
            return nil
        }
    }
}

extension QMPError {
    fileprivate init(members: JSONObject) {
        var description = ""
        if case .string(let text)? = members["desc"] { description = text }
        var errorClass: ErrorClass?
        if case .string(let name)? = members["class"] { errorClass = ErrorClass(rawValue: name) }
        self.init(errorClass ?? .genericError, description)
    }
}

extension Event {
    fileprivate init(_ name: String, members: JSONObject) {
        self.init(name, seconds: -1, microseconds: -1)
        if case .object(let data)? = members["data"] { self.data = data }
        guard case .object(let timestamp)? = members["timestamp"] else { return }
        if case .integer(let seconds)? = timestamp["seconds"] { self.seconds = seconds }
        if case .integer(let microseconds)? = timestamp["microseconds"] { self.microseconds = microseconds }
    }
}

extension Greeting {
    fileprivate init(members: JSONObject) {
        self.init(version: [:], capabilities: [])
        if case .object(let version)? = members["version"] { self.version = version }
        guard case .array(let names)? = members["capabilities"] else { return }
        capabilities = names.compactMap { name in
            guard case .string(let name) = name else { return nil }
            return name
        }
    }
}
