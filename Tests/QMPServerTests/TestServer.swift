import IOLoop
import JSON
import Logging
import QMPServer
import StorageTestSupport
import Synchronization

/// A server with toy commands, and what it logs.
@GraphActor final class TestServer {
    nonisolated let commands = ToyCommands()
    nonisolated let log = TestLog()
    nonisolated let directory = TemporaryDirectory()
    let server: QMPServer

    init() {
        let log = log
        let logger = Logger(label: "test") { _ in TestLogHandler(log: log) }
        server = QMPServer(
            commands: commands, version: ["qemu": ["major": 11, "minor": 1, "micro": 3], "package": ""], logger: logger)
    }

    /// Where `listen` listens.
    nonisolated var path: String { directory.file("qmp") }

    /// Adds a monitor that listens at `path`.
    func listen(pretty: Bool = false) async throws {
        server.addMonitor(id: "m", transport: try await .listener(at: .unix(path: path)), pretty: pretty)
    }

    /// Adds a monitor for one client, whose end of the connection is returned.
    func socketPair(pretty: Bool = false) throws -> Socket {
        let (mine, theirs) = try Socket.pair()
        server.addMonitor(id: "p", transport: .socket(theirs), pretty: pretty)
        return mine
    }

    func emit(_ name: String, _ data: JSONObject? = nil) { server.emit(name, data) }

    func shutdown(within limit: Duration = .seconds(5)) async { await server.shutdown(within: limit) }

    /// Whether all monitors are without a client.
    var isIdle: Bool { server.monitors.allSatisfy { !$0.isConnected } }
}

/// The lines that a server logged.
final class TestLog: Sendable {
    private let storage = Mutex<[String]>([])

    var lines: [String] { storage.withLock { $0 } }

    func add(_ line: String) { storage.withLock { $0.append(line) } }
}

private struct TestLogHandler: LogHandler {
    let log: TestLog
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.trace

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) { log.add("\(event.message)") }
}

/// Runs `body` on the loop that the server runs on.
func onMainLoop(_ body: @escaping @Sendable () async throws -> Void) async throws {
    startMainLoop()
    try await on(IOLoop.main, body)
}
