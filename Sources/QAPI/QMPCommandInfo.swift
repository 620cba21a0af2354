import JSON

/// What a server must know about a command before it runs it.
public struct QMPCommandInfo: Sendable, Hashable {
    /// The name on the wire.
    public let name: String
    /// Whether the command may be run out of band, ahead of others.
    public let allowsOutOfBand: Bool
    /// Whether the command may be run before the daemon is fully configured.
    public let allowsPreconfig: Bool
    /// Whether success is answered; a command without this answers only when it fails.
    public let hasSuccessResponse: Bool

    /// The properties of one command.
    public init(
        _ name: String, allowsOutOfBand: Bool = false, allowsPreconfig: Bool = false, hasSuccessResponse: Bool = true
    ) {
        self.name = name
        self.allowsOutOfBand = allowsOutOfBand
        self.allowsPreconfig = allowsPreconfig
        self.hasSuccessResponse = hasSuccessResponse
    }
}

/// A set of commands that can be run by name; the generated dispatcher is one.
public protocol QMPCommandSet: Sendable {
    /// What is known about a command, nil where there is none of this name.
    func command(named name: String) -> QMPCommandInfo?

    /// Runs a command with the arguments as they came from the wire and returns what it returns.
    ///
    /// Throws `CommandNotFound` where there is no such command, `GenericError` where the arguments are not right, and
    /// what the command throws.
    func execute(_ name: String, _ arguments: JSONObject) async throws(QMPError) -> JSON
}

/// Something that can run commands on a server; typed calls are generated on top.
public protocol QMPCaller: Sendable {
    /// Runs a command and returns its value; throws `QMPError` with the server's answer where the command failed.
    func execute(_ name: String, _ arguments: JSONObject?) async throws -> JSON
}

extension QMPError {
    /// There is no command of this name.
    public static func commandNotFound(_ name: String) -> QMPError {
        QMPError(.commandNotFound, "The command \(name) has not been found")
    }
}
