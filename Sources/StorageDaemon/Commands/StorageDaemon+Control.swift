import BlockExports
import QAPI
import QMPSchema

/// The daemon itself: `query-version`, `query-commands`, `query-qmp-schema`, `quit`.
extension StorageDaemon {
    /// The version of QEMU whose behaviour clients may expect, and in `package` the daemon's own.
    public nonisolated static let version = VersionInfo(
        qemu: VersionTriple(major: 11, minor: 1, micro: 3), package: "Cairn \(versionText)")

    /// The daemon's own version.
    public nonisolated static let versionText = "0.1.0"

    /// Negotiation is the monitor's; this is reached only where it is over.
    public func qmpCapabilities(_ arguments: QmpCapabilitiesArguments) async throws(QMPError) {
        throw QMPError(.commandNotFound, "Capabilities negotiation is already complete, command ignored")
    }

    public func queryVersion() async throws(QMPError) -> VersionInfo { Self.version }

    public func queryCommands() async throws(QMPError) -> [CommandInfo] {
        QMPCommands.all.map { CommandInfo(name: $0.name) }
    }

    public func queryQmpSchema() async throws(QMPError) -> [SchemaInfo] { try QMPIntrospection.schemaInfo() }

    public func quit() async throws(QMPError) {
        await exports.removeAll()
        requestQuit()
    }
}
