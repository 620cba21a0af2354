import JSON

/// Something that can run commands on a server; typed calls are generated on top.
public protocol QMPCaller: Sendable {
    /// Runs a command and returns its value; throws `QMPError` with the server's answer where the command failed.
    func execute(_ name: String, _ arguments: JSONObject?) async throws -> JSON
}
