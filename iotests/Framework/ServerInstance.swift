import Glibc
import IOLoop
import JSON
import QAPI
import QMPClient
import QMPProtocol

/// A server that runs, with a client of its monitor that can log what it does.
public final class ServerInstance: Sendable {
    private let context: ScenarioContext
    private let process: ChildProcess
    private let client: QMPClient
    private let events: EventBuffer

    private init(_ context: ScenarioContext, _ process: ChildProcess, _ client: QMPClient) {
        self.context = context
        self.process = process
        self.client = client
        events = EventBuffer(client.events())
    }

    static func start(
        _ server: ServerProgram, _ arguments: [String], in context: ScenarioContext
    ) async throws -> ServerInstance {
        // It listens before the program starts: the client need not wait for it.
        let socketPath = "\(context.directory)/qmp"
        unlink(socketPath)
        let monitor = try Socket.listen(.unix(path: socketPath))
        defer { monitor.descriptor.closeNow() }
        let process = try context.spawn([server.path] + server.monitorArguments + arguments, inherited: monitor)
        do {
            let client = try await QMPClient.connect(to: .unix(path: socketPath))
            return ServerInstance(context, process, client)
        } catch {
            throw ScenarioFailure("\(error); the server wrote: \(process.output)")
        }
    }

    // MARK: Commands

    /// Executes a command: its reply, which may be an error.
    public func execute(_ command: String, _ arguments: JSONObject = [:]) async throws -> JSONObject {
        do {
            return ["return": try await client.execute(command, arguments)]
        } catch let error as QMPError {
            return Reply(.failure(error)).message
        } catch {
            throw ScenarioFailure("\(command): \(error); the server wrote: \(process.output)")
        }
    }

    /// Executes a command that must succeed: what it returns.
    @discardableResult
    public func succeed(_ command: String, _ arguments: JSONObject = [:]) async throws -> JSON {
        let reply = try await execute(command, arguments)
        guard let value = reply["return"] else { throw ScenarioFailure("\(command): \(reply)") }
        return value
    }

    /// Logs a command, executes it, and logs its reply.
    @discardableResult
    public func logged(_ command: String, _ arguments: JSONObject = [:]) async throws -> JSONObject {
        let shown = OutputFilter.withDashes(.object(arguments)).goldenText()
        context.log("{\"execute\": \(JSON.string(command)), \"arguments\": \(shown)}")
        let reply = try await execute(command, arguments)
        context.log(.object(reply))
        return reply
    }

    /// Runs a qemu-io command on what a guest sees of a node that `attachGuest` was called for: the reply.
    public func guestIO(_ command: String) async throws -> JSONObject {
        try await execute("human-monitor-command", ["command-line": .string("qemu-io -d guest \"\(command)\"")])
    }

    /// Gives a node a user who may write, as a guest's disk is one.
    public func attachGuest(to node: String) async throws {
        switch context.server.kind {
        case .emulator:
            try await succeed("device_add", ["driver": "scsi-hd", "id": "guest", "drive": .string(node)])
        case .cairn, .storageDaemon:
            let address: JSON = ["type": "unix", "data": ["path": .string("\(context.directory)/nbd")]]
            try await succeed("nbd-server-start", ["addr": address])
            try await succeed(
                "block-export-add", ["type": "nbd", "id": "guest", "node-name": .string(node), "writable": true])
        }
    }

    // MARK: Events

    /// Waits for an event and takes it out of those that have arrived.
    @discardableResult
    public func event(
        _ name: String, where matches: @escaping @Sendable (JSONObject) -> Bool = { _ in true }
    ) async throws -> JSONObject {
        guard let event = await events.take({ $0.name == name && matches($0.data ?? [:]) }) else {
            throw ScenarioFailure("\(name) does not come; the server wrote: \(process.output)")
        }
        return event.message
    }

    /// Waits for an event with at least these data, and takes it out with all that came before it.
    func events(upTo name: String, _ data: JSONObject) async throws -> [JSONObject] {
        let found = await events.takeUntil { event in
            event.name == name && data.members.allSatisfy { event.data?[$0.name] == $0.value }
        }
        guard !found.isEmpty else {
            throw ScenarioFailure("\(name) does not come; the server wrote: \(process.output)")
        }
        return found.map(\.message)
    }

    /// Waits for an event, and logs it without its time.
    public func loggedEvent(_ name: String) async throws {
        context.log(.object(OutputFilter.withoutTime(try await event(name))))
    }

    /// Waits until a job has got a status.
    public func waitForJob(_ job: String, _ status: String) async throws {
        try await event("JOB_STATUS_CHANGE") { $0 == ["id": .string(job), "status": .string(status)] }
    }

    // MARK: The end

    /// Has the server quit, and waits for its end, which must be a good one.
    public func quit() async throws {
        try await succeed("quit")
        await client.close()
        guard let status = await process.waitForEnd(within: .seconds(60)) else {
            throw ScenarioFailure("the server does not end; it wrote: \(process.output)")
        }
        guard status == 0 else { throw ScenarioFailure("the server ended with \(status): \(process.output)") }
    }
}
