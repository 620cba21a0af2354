import BlockExports
import BlockGraph
import IOLoop
import JSON
import Logging
import QAPI
import QMPProtocol
import QMPSchema
import QMPServer

/// Why the daemon does not start: a line for standard error.
struct StartupError: Error {
    let message: String

    init(_ message: String) { self.message = message }
}

/// Sets the daemon up as the command line says, one option after the other.
@GraphActor
final class Startup {
    let daemon: StorageDaemon
    let server: QMPServer
    private(set) var pidFile: PidFile?
    private var devices: [String: CharacterDevice] = [:]
    private var devicesInUse: Set<String> = []
    private var monitorNames: Set<String> = []
    private var monitors: [(device: CharacterDevice, options: MonitorOptions)] = []
    private var hasStandardStreams = false

    init(daemon: StorageDaemon, server: QMPServer) {
        self.daemon = daemon
        self.server = server
    }

    /// Carries the options out. Errors: the first that cannot be; what was set up before it stays.
    func run(_ options: [GivenOption]) async throws(StartupError) {
        for option in options {
            do {
                try await apply(option)
            } catch {
                let hint = error.hint.map { "\n\($0)" } ?? ""
                throw StartupError("\(option.words): \(error.description)\(hint)")
            }
        }
        if let path = options.last(where: { $0.option == .pidfile })?.value { pidFile = try await PidFile.create(path) }
        await openMonitors()
    }

    private func apply(_ given: GivenOption) async throws(QMPError) {
        switch given.option {
        case .help, .version, .daemonize, .pidfile, .trace: return
        case .blockdev:
            try await daemon.blockdevAdd(try decode(BlockdevOptions.self, given.value, impliedKey: "driver"))
        case .chardev: try await addDevice(given.value)
        case .export:
            try await daemon.blockExportAdd(try decode(BlockExportOptions.self, given.value, impliedKey: "type"))
        case .monitor: try await addMonitor(given.value)
        case .nbdServer: try await daemon.startNBDServer(try decode(NbdServerOptions.self, given.value))
        case .object:
            if ObjectHelp.isAskedFor(by: given.value) { ObjectHelp.printAndExit(given.value) }
            let options = try decode(ObjectOptions.self, given.value, impliedKey: "qom-type")
            guard Identifier.isWellFormed(options.id) else { throw Identifier.malformed }
            try await daemon.objectAdd(options)
        }
    }

    private func decode<Options: QAPIStruct>(
        _ type: Options.Type, _ text: String, impliedKey: String? = nil
    ) throws(QMPError) -> Options {
        try Keyval.decode(type, from: text, impliedKey: impliedKey) { (text) throws(QMPError) in
            try JSON(parsingOption: text)
        }
    }

    private func addDevice(_ text: String) async throws(QMPError) {
        let device = try await CharacterDevice.open(text)
        if device.takesStandardStreams {
            if hasStandardStreams { throw QMPError("cannot use stdio by multiple character devices") }
            hasStandardStreams = true
        }
        guard devices[device.id] == nil else { throw Self.duplicate(device.id) }
        devices[device.id] = device
    }

    private static func duplicate(_ id: String) -> QMPError {
        QMPError("attempt to add duplicate property '\(id)' to object (type 'container')")
    }

    private func addMonitor(_ text: String) async throws(QMPError) {
        let options = try decode(MonitorOptions.self, text, impliedKey: "chardev")
        if options.mode == .readline { throw QMPError("Only QMP is supported") }
        guard let device = devices[options.chardev] else { throw QMPError("chardev \"\(options.chardev)\" not found") }
        if let id = options.id, !monitorNames.insert(id).inserted { throw Self.duplicate(id) }
        guard devicesInUse.insert(device.id).inserted else {
            throw QMPError("chardev '\(device.id)' is already in use")
        }
        monitors.append((device, options))
    }

    /// Lets clients in: not before the daemon is what the command line says, so that they find it complete.
    private func openMonitors() async {
        for (device, options) in monitors {
            guard case .transport(let transport) = device.backend else { continue }
            let monitor = server.addMonitor(
                id: options.id ?? device.id, transport: transport, pretty: options.pretty ?? false)
            if device.waitsForClient { await monitor.waitForClient() }
        }
    }
}
