import IOLoop

/// Why a client cannot go on. A command that the server refuses is a `QMPError` instead.
public enum QMPClientError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The connection could not be made or has failed.
    case connection(Errno)
    /// The connection has ended, here or on the server's side.
    case closed
    /// The server sent something that is not QMP, or could not read what the client sent.
    case protocolViolation(String)
    /// The server does not offer a capability that was asked for.
    case missingCapability(String)

    /// What happened, in words.
    public var description: String {
        switch self {
        case .connection(let error): "the QMP connection failed: \(error)"
        case .closed: "the QMP connection is closed"
        case .protocolViolation(let reason): "the QMP connection is of no more use: \(reason)"
        case .missingCapability(let name): "the QMP server does not offer the capability '\(name)'"
        }
    }
}
