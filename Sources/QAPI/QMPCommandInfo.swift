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
