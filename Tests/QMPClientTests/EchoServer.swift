import IOLoop
import JSON
import Logging
import QAPI
import QMPServer
import StorageTestSupport

/// Commands for clients to try.
private struct EchoCommands: QMPCommandSet {
    let gate = AsyncSemaphore(0)

    func command(named name: String) -> QMPCommandInfo? {
        switch name {
        case "echo", "query-version", "wait": QMPCommandInfo(name)
        case "open-gate": QMPCommandInfo(name, allowsOutOfBand: true)
        default: nil
        }
    }

    func execute(_ name: String, _ arguments: JSONObject) async throws(QMPError) -> JSON {
        switch name {
        case "query-version": return .object(EchoServer.version)
        case "wait": await gate.wait()
        case "open-gate": gate.signal()
        default: break
        }
        return .object(arguments)
    }
}

/// A real server that listens on a Unix socket.
@GraphActor final class EchoServer {
    nonisolated let directory = TemporaryDirectory()
    private let server: QMPServer

    nonisolated static let version: JSONObject = [
        "qemu": ["major": 11, "minor": 1, "micro": 3], "package": "cairn",
    ]

    nonisolated var address: SocketAddress { .unix(path: directory.file("s")) }

    init() async throws {
        server = QMPServer(commands: EchoCommands(), version: Self.version, logger: Logger(label: "test"))
        server.addMonitor(id: "m", transport: try await .listener(at: address))
    }

    func emit(_ name: String, _ data: JSONObject? = nil) { server.emit(name, data) }

    func stop() async { await server.shutdown() }
}

/// Runs `body` with a server.
func withEchoServer(_ body: (EchoServer) async throws -> Void) async throws {
    startMainLoop()
    let server = try await EchoServer()
    do {
        try await body(server)
    } catch {
        await server.stop()
        throw error
    }
    await server.stop()
}
