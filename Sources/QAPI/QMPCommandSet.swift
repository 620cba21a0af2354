import JSON

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

extension QMPError {
    /// There is no command of this name.
    public static func commandNotFound(_ name: String) -> QMPError {
        QMPError(.commandNotFound, "The command \(name) has not been found")
    }
}
