import IOLoop
import JSON
import QAPI
import QMPProtocol

/// A connection to a QMP server: this daemon, or QEMU.
///
/// Any number of tasks may use one client at the same time, from any executor. Commands are sent in the order in which
/// `execute` was called; the server executes them one after the other. Beside `execute` there is a method with types for
/// each command of the schema (`import QMPSchema`). The connection ends with `close()`, with the last reference to the client, or when the
/// server ends it.
public final class QMPClient: QMPCaller {
    /// What the server said when the client connected.
    public let greeting: Greeting

    private let connection: ClientConnection

    private init(_ connection: ClientConnection, _ greeting: Greeting) {
        self.connection = connection
        self.greeting = greeting
    }

    deinit {
        let connection = connection
        Task { await connection.close() }
    }

    /// Connects to a server and negotiates with it.
    /// - Parameters:
    ///   - address: Where the server listens.
    ///   - capabilities: What to enable.
    ///   - loop: The loop to do I/O on, which runs; by default that of the caller or else one that all clients share.
    /// - Throws: `QMPClientError`: `connection` when nobody listens there, the connection fails, or the task is cancelled;
    ///   `closed` when the server hangs up; `protocolViolation` when it does not speak QMP; `missingCapability` when it
    ///   does not offer one of `capabilities`.
    public static func connect(
        to address: SocketAddress, enabling capabilities: Set<Capability> = [], on loop: IOLoop? = nil
    ) async throws(QMPClientError) -> QMPClient {
        let connection: ClientConnection
        if let loop = loop ?? IOLoop.current {
            connection = ClientConnection(loop: loop)
        } else {
            connection = ClientConnection(loop: try shared())
        }
        return QMPClient(connection, try await connection.open(address, capabilities))
    }

    private static func shared() throws(QMPClientError) -> IOLoop {
        switch sharedLoop {
        case .success(let loop): return loop
        case .failure(let error): throw .connection(error)
        }
    }

    /// The loop of clients that come without one.
    private static let sharedLoop: Result<IOLoop, Errno> = {
        do throws(Errno) {
            let loop = try IOLoop(name: "qmp-client")
            loop.start()
            return .success(loop)
        } catch {
            return .failure(error)
        }
    }()

    /// Has the server execute a command.
    ///
    /// When the task is cancelled this returns at once; the server executes the command nevertheless.
    /// - Parameters:
    ///   - name: The command.
    ///   - arguments: Its arguments; nil is the same as none.
    /// - Returns: What the command returns.
    /// - Throws: `QMPError` when the command fails; `QMPClientError` when there is no reply; `CancellationError`.
    public func execute(_ name: String, _ arguments: JSONObject? = nil) async throws -> JSON {
        try await connection.execute(Request(name, arguments: arguments ?? [:]))
    }

    /// Does `execute` out of band: the server executes the command at once. The capability `oob` has to be enabled, and
    /// the command has to allow it.
    public func executeOutOfBand(_ name: String, _ arguments: JSONObject? = nil) async throws -> JSON {
        try await connection.execute(Request(name, arguments: arguments ?? [:], isOutOfBand: true))
    }

    /// The events that the server sends from now on, until the connection ends. Each call makes a sequence of its own.
    ///
    /// Events are kept until they are taken, so take them, or let the sequence go.
    public func events() -> AsyncStream<Event> { connection.subscribers.add() }

    /// Ends the connection. Commands that have no reply yet throw `QMPClientError.closed`; sequences of events end.
    /// On return the socket is closed.
    public func close() async { await connection.close() }
}
