import BlockExports
import BlockGraph
import QAPI
import QMPSchema

/// The daemon itself: `query-version`, `query-commands`, `query-qmp-schema`, `quit`.
extension StorageDaemon {
    /// The version of QEMU whose behaviour clients may expect, and in `package` the daemon's own.
    nonisolated static let version = VersionInfo(
        qemu: VersionTriple(major: 11, minor: 1, micro: 3), package: "Cairn \(versionText)")

    /// The daemon's own version.
    nonisolated static let versionText = "0.1.0"

    /// Negotiation is the monitor's; this is reached only where it is over.
    func qmpCapabilities(_ arguments: QmpCapabilitiesArguments) async throws(QMPError) {
        throw QMPError(.commandNotFound, "Capabilities negotiation is already complete, command ignored")
    }

    func queryVersion() async throws(QMPError) -> VersionInfo { Self.version }

    func queryCommands() async throws(QMPError) -> [CommandInfo] {
        QMPCommands.all.map { CommandInfo(name: $0.name) }
    }

    func queryQmpSchema() async throws(QMPError) -> [SchemaInfo] { try QMPIntrospection.schemaInfo() }

    func quit() async throws(QMPError) {
        graph.letEverythingThrough()
        await exports.removeAll()
        requestQuit()
    }
}
