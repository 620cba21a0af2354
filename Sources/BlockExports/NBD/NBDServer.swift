import BlockGraph
import IOLoop
import Logging
import NBDProtocol

/// An NBD server: listens, negotiates with clients, and hands them to the export that they ask for.
///
/// One server runs at a time; ``start(at:_:)`` and ``stop()`` may be repeated.
@GraphActor
public final class NBDServer {
    /// Limits against clients that cost too much.
    public struct Limits: Sendable {
        /// Most clients at a time, those that negotiate included; 0 for no limit. Further ones wait to be accepted.
        public var maximumConnections = 100
        /// Seconds that a client may take to negotiate; 0 for no limit.
        public var handshakeMaximumSeconds = 10

        /// The defaults: 100 clients, 10 seconds.
        public init() {}
    }

    private enum State {
        case stopped
        case starting
        case running
        case stopping
    }

    let logger: Logger
    private(set) var limits = Limits()
    private let exportList: BlockExportList
    private var state = State.stopped
    private var listener: NBDListener?
    private var acceptors: [Task<Void, Never>] = []
    /// The exports of this server, in the order in which they were made.
    private(set) var exports: [NBDExport] = []

    /// Clients that negotiate.
    private var handshakes: [ObjectIdentifier: NBDHandshake] = [:]
    private var clientCount = 0
    /// Notified when a client ends, and when the server stops.
    private let changed = WaitQueue()

    /// A server that is not running; its exports show up in `exports`.
    public init(exports: BlockExportList, logger: Logger = Logger(label: "cairn.nbd")) {
        exportList = exports
        self.logger = logger
    }

    /// Whether the server runs.
    public var isRunning: Bool { state == .running }

    /// How many clients are connected, those that negotiate included.
    public var connectionCount: Int { clientCount }

    /// The addresses that the server listens at, with the ports that were free.
    public var addresses: [SocketAddress] {
        (listener?.sockets ?? []).compactMap { try? $0.localAddress() }
    }

    /// Begins to listen at `address`; clients can connect on return.
    ///
    /// Errors: "NBD server already running"; whatever keeps the socket from being bound.
    public func start(at address: NBDServerAddress, _ limits: Limits = Limits()) async throws(BlockError) {
        guard state == .stopped else { throw BlockError("NBD server already running") }
        state = .starting
        do throws(BlockError) {
            let backlog = limits.maximumConnections == 0 ? 128 : Int32(clamping: limits.maximumConnections)
            let listener = try await NBDListener.open(address, backlog: max(backlog, 1))
            self.listener = listener
            self.limits = limits
            state = .running
            acceptors = listener.sockets.map { socket in GraphActor.spawn { await self.acceptClients(of: socket) } }
        } catch {
            state = .stopped
            throw error
        }
    }

    /// Stops listening, removes all exports of the server with their clients, and returns when all are gone.
    ///
    /// Error: "NBD server not running".
    public func stop() async throws(BlockError) {
        guard state == .running else { throw BlockError("NBD server not running") }
        state = .stopping
        listener?.shutDown()
        changed.notifyAll()
        for acceptor in acceptors { await acceptor.value }
        acceptors = []
        listener?.close()
        listener = nil
        for handshake in handshakes.values { handshake.end() }
        await exportList.removeAll { ($0 as? NBDExport).map(owns) ?? false }
        await changed.wait(until: { clientCount == 0 })
        state = .stopped
    }

    private func owns(_ export: NBDExport) -> Bool { exports.contains { $0 === export } }

    /// The exports that clients can ask for.
    var exportInfos: [NBDExportInfo] { exports.lazy.filter { !$0.isShuttingDown && !$0.isHidden }.map(\.info) }

    /// The export of a name, unless it is going away.
    func export(named name: String) -> NBDExport? {
        exports.first { !$0.isShuttingDown && !$0.isHidden && $0.info.name == name }
    }

    func append(_ export: NBDExport) {
        exports.append(export)
        exportList.insert(export)
    }

    func forget(_ export: NBDExport) {
        exports.removeAll { $0 === export }
    }

    /// Checks the id of a new export. Errors: as `BlockExportList.check(id:)`.
    func check(id: String) throws(BlockError) {
        try exportList.check(id: id)
    }

    // MARK: Clients

    private func acceptClients(of socket: Socket) async {
        while true {
            await changed.wait(until: { hasRoomForClients || state != .running })
            guard state == .running else { return }
            do throws(Errno) {
                let client = try await socket.accept()
                clientCount += 1
                GraphActor.spawn { await self.serve(client) }
            } catch .ECONNABORTED {
                continue
            } catch .EMFILE, .ENFILE, .ENOBUFS, .ENOMEM {
                logger.error("cannot accept a client")
                // The client stays in the queue of the socket; what is short may be there a little later.
                try? await IOLoop.sleep(for: .milliseconds(100))
            } catch {
                return
            }
        }
    }

    /// Serves one client up to the end of its negotiation; the export does the rest.
    private func serve(_ socket: Socket) async {
        // Unix sockets have nothing to delay.
        try? socket.setNoDelay(true)
        let handshake = NBDHandshake(socket: socket)
        handshakes[ObjectIdentifier(handshake)] = handshake
        if state != .running { handshake.end() }
        let connection = await handshake.run(self)
        handshakes[ObjectIdentifier(handshake)] = nil
        guard let connection else {
            socket.descriptor.closeNow()
            return clientDidEnd()
        }
        connection.start(with: handshake.remainder)
    }

    /// The connection of a client that has chosen its export; it counts as the export's client at once.
    func connect(_ socket: Socket, _ session: NBDSession) -> NBDConnection? {
        guard state == .running, let export = export(named: session.export.name) else { return nil }
        let connection = NBDConnection(
            socket: socket, session: session, export: export, loop: export.takeLoop(),
            onEnd: { connection in
                socket.descriptor.closeNow()
                export.remove(connection)
                self.clientDidEnd()
            })
        export.add(connection)
        return connection
    }

    private func clientDidEnd() {
        clientCount -= 1
        changed.notifyAll()
    }

    private var hasRoomForClients: Bool {
        limits.maximumConnections == 0 || clientCount < limits.maximumConnections
    }
}
