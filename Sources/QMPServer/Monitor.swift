import IOLoop
import Logging

/// A place where clients speak QMP, one after the other.
@GraphActor public final class Monitor {
    /// What log lines call the monitor.
    public let id: String
    /// Whether messages are spread over lines.
    public let pretty: Bool

    /// How many clients may have left while their commands still run or wait for their turn, before the next client has
    /// to wait for these.
    static let abandonedLimit = 8

    private let transport: MonitorTransport
    private unowned let server: QMPServer
    private let changed = WaitQueue()
    private var current: Connection?
    /// Connections whose client has left, but not all of whose commands have ended.
    private var abandoned: [Connection] = []
    private var task: Task<Void, Never>?
    private var connectionCount = 0

    init(id: String, transport: MonitorTransport, pretty: Bool, server: QMPServer) {
        self.id = id
        self.transport = transport
        self.pretty = pretty
        self.server = server
    }

    /// Whether there is a client.
    public var isConnected: Bool { current != nil }

    /// Waits until the first client has come.
    public func waitForClient() async {
        await changed.wait(until: { connectionCount > 0 })
    }

    /// Whether there is a client to tell about events.
    var wantsEvents: Bool { current?.wantsEvents == true }

    func send(event text: [UInt8]) { current?.send(event: text) }

    func start() {
        task = GraphActor.spawn { await self.run() }
    }

    private func run() async {
        switch transport {
        case .socket(let socket): await serve(Channel(socket))
        case .streams(let input, let output): await serve(Channel(input: input, output: output))
        case .listener(let listener, _):
            while let socket = await accept(listener) {
                try? socket.setNoDelay(true)
                await serve(Channel(socket))
                await changed.wait(until: { abandoned.count < Self.abandonedLimit })
            }
        }
    }

    /// The next client; nil when the monitor stops or the socket fails.
    private func accept(_ listener: Socket) async -> Socket? {
        while true {
            do throws(Errno) {
                return try await listener.accept()
            } catch .ECANCELED {
                return nil
            } catch .ECONNABORTED {
                continue
            } catch let error where [.EMFILE, .ENFILE, .ENOBUFS, .ENOMEM].contains(error) {
                server.logger.error("monitor \(id): cannot accept a client now: \(error)")
                // Nothing tells when the resource is available again.
                do throws(Errno) { try await IOLoop.sleep(for: .seconds(1)) } catch { return nil }
            } catch {
                server.logger.error("monitor \(id): cannot accept clients: \(error)")
                return nil
            }
        }
    }

    /// Serves a client until it leaves.
    private func serve(_ channel: Channel) async {
        connectionCount += 1
        let connection = Connection(channel, number: connectionCount, pretty: pretty, monitorID: id, server: server)
        current = connection
        changed.notifyAll()
        connection.start()
        if Task.isCancelled { connection.stopReading() }
        await connection.waitUntilLeft()
        current = nil
        guard !connection.hasEnded else { return }
        abandoned.append(connection)
        GraphActor.spawn {
            await connection.waitUntilEnded()
            self.abandoned.removeAll { $0 === connection }
            self.changed.notifyAll()
        }
    }

    /// Does `QMPServer.shutdown` for this monitor.
    func shutdown(within limit: Duration) async {
        task?.cancel()
        let connections = abandoned + (current.map { [$0] } ?? [])
        for connection in connections { connection.stopReading() }
        _ = try? await withTimeout(limit) {
            for connection in connections { try await connection.waitUntilEndedCancellable() }
        }
        for connection in connections { connection.drop() }
        await task?.value
        guard case .listener(let listener, let path) = transport else { return }
        try? await listener.close()
        if let path { try? await FileDescriptor.unlink(path) }
    }
}
