import Glibc
import IOLoop
import JSON
import Logging
import QAPI
import QMPProtocol

/// The QMP side of a daemon: its monitors, and the commands and events that they share.
///
/// Commands run one at a time, over all monitors, in the order in which their turns came; commands that a client sends
/// for out-of-band execution, and that allow it, run at once. Everything here is isolated to the control plane.
@GraphActor public final class QMPServer {
    /// How much may wait to be sent to a client, in bytes, when an event is added: a client that reads too slowly for
    /// this is dropped.
    public nonisolated static let outputLimit = 16 << 20
    /// How much may wait to be sent to a client, in bytes, for its next command to begin.
    public nonisolated static let outputHighWater = 1 << 20

    let greeting: Greeting
    let logger: Logger
    private let commands: any QMPCommandSet
    private let commandTurn = AsyncMutex()
    private var throttle = EventThrottle()
    private var throttleTimer: Task<Void, Never>?
    private var isStopping = false

    /// The monitors, in the order in which they were added.
    public private(set) var monitors: [Monitor] = []

    /// A server without monitors.
    /// - Parameters:
    ///   - commands: What clients can have executed.
    ///   - version: What `query-version` returns, for the greeting.
    ///   - logger: Where clients that are dropped, and sockets that fail, are told about.
    public init(commands: any QMPCommandSet, version: JSONObject, logger: Logger) {
        self.commands = commands
        self.greeting = Greeting(version: version)
        self.logger = logger
    }

    /// Adds a monitor and lets clients in.
    /// - Parameters:
    ///   - id: What log lines call the monitor.
    ///   - transport: How clients come; the server closes it.
    ///   - pretty: Whether messages are spread over lines.
    @discardableResult
    public func addMonitor(id: String, transport: MonitorTransport, pretty: Bool = false) -> Monitor {
        let monitor = Monitor(id: id, transport: transport, pretty: pretty, server: self)
        monitors.append(monitor)
        monitor.start()
        return monitor
    }

    /// Tells all clients that have negotiated about an event that happens now.
    ///
    /// Events of the kinds that `EventThrottle` names are sent at most once a second.
    public func emit(_ name: String, _ data: JSONObject? = nil) {
        var time = timespec()
        let hasTime = clock_gettime(CLOCK_REALTIME, &time) == 0
        emit(
            Event(
                name, data: data, seconds: hasTime ? Int64(time.tv_sec) : -1,
                microseconds: hasTime ? Int64(time.tv_nsec / 1000) : -1))
    }

    private func emit(_ event: Event) {
        switch throttle.add(event, at: .now) {
        case .send: broadcast(event)
        case .hold: armThrottleTimer()
        }
    }

    private func broadcast(_ event: Event) {
        let message = event.message
        var texts: [Bool: [UInt8]] = [:]
        for monitor in monitors where monitor.wantsEvents {
            let text = texts[monitor.pretty] ?? message.wireBytes(pretty: monitor.pretty)
            texts[monitor.pretty] = text
            monitor.send(event: text)
        }
    }

    /// Sends held events when they are due, as long as there are any.
    private func armThrottleTimer() {
        guard throttleTimer == nil else { return }
        throttleTimer = GraphActor.spawn { [weak self] in
            while let deadline = self?.throttle.nextDeadline {
                do {
                    try await IOLoop.sleep(until: deadline)
                } catch {
                    return
                }
                guard let self else { return }
                for event in throttle.takeDue(at: .now) { broadcast(event) }
            }
            self?.throttleTimer = nil
        }
    }

    /// Executes a command; in-band ones wait for their turn.
    /// - Returns: What to reply, nil for nothing: the server stops, or the command has no reply when it succeeds.
    func execute(_ request: Request) async -> Result<JSON, QMPError>? {
        guard let info = commands.command(named: request.command) else {
            return .failure(.commandNotFound(request.command))
        }
        if request.isOutOfBand {
            guard info.allowsOutOfBand else {
                return .failure(QMPError("The command \(request.command) does not support OOB"))
            }
            return await execute(request, info)
        }
        return await commandTurn.withLock { isStopping ? nil : await execute(request, info) }
    }

    /// Runs a body while no in-band command is executed.
    public func exclusively(_ body: @GraphActor () async -> Void) async {
        await commandTurn.withLock { await body() }
    }

    private func execute(_ request: Request, _ info: QMPCommandInfo) async -> Result<JSON, QMPError>? {
        do throws(QMPError) {
            let value = try await commands.execute(request.command, request.arguments)
            return info.hasSuccessResponse ? .success(value) : nil
        } catch {
            return .failure(error)
        }
    }

    /// Lets no more clients in, reads nothing more, and closes all connections.
    ///
    /// The command that is being executed ends, its reply and everything else that waits to be sent is sent, all within
    /// `limit`; commands that have not begun are dropped. Not for use by a command, which would wait for itself: a
    /// command that ends the daemon makes another task do this.
    public func shutdown(within limit: Duration = .seconds(5)) async {
        isStopping = true
        throttleTimer?.cancel()
        await withDiscardingTaskGroup { group in
            for monitor in monitors { group.addTask { await monitor.shutdown(within: limit) } }
        }
        monitors = []
    }
}
