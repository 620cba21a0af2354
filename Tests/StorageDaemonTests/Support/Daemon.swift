import Glibc
import IOLoop
import JSON
import NBDProtocol
import QAPI
import QMPClient
import QMPSchema
import StorageTestSupport
import Testing

/// The real daemon with a client of its monitor, and a directory for its files.
struct Daemon: Sendable {
    let directory: TemporaryDirectory
    let process: DaemonProcess
    let qmp: QMPClient

    /// Starts a daemon, calls `body` on the tests' loop, and ends the daemon, which must then leave with status 0.
    static func run(
        _ arguments: [String] = [], _ body: @escaping @Sendable (Daemon) async throws -> Void
    ) async throws {
        try await onLoop {
            let directory = TemporaryDirectory()
            let process = try start(arguments, in: directory)
            do {
                let qmp = try await QMPClient.connect(to: .unix(path: directory.file("qmp")))
                try await body(Daemon(directory: directory, process: process, qmp: qmp))
                await qmp.close()
                process.signal(SIGTERM)
                let end = try await process.waitForEnd()
                #expect(end == .exited(0), "the daemon wrote: \(process.output)")
            } catch {
                Issue.record("the daemon wrote: \(process.output)")
                await process.killAndWait()
                throw error
            }
        }
    }

    /// Starts a daemon, calls `body`, and kills the daemon in the midst of whatever it is doing; the directory of its files.
    static func runAndKill(_ body: @escaping @Sendable (Daemon) async throws -> Void) async throws -> TemporaryDirectory
    {
        try await onLoop {
            let directory = TemporaryDirectory()
            let process = try start([], in: directory)
            do {
                let qmp = try await QMPClient.connect(to: .unix(path: directory.file("qmp")))
                try await body(Daemon(directory: directory, process: process, qmp: qmp))
                await process.killAndWait()
                await qmp.close()
            } catch {
                await process.killAndWait()
                throw error
            }
            return directory
        }
    }

    /// The monitor's socket listens before the program starts: clients need not wait for it.
    private static func start(_ arguments: [String], in directory: TemporaryDirectory) throws -> DaemonProcess {
        let monitor = try Socket.listen(.unix(path: directory.file("qmp")))
        defer { monitor.descriptor.closeNow() }
        let monitorArguments = ["--chardev", "socket,id=qmp,fd=3,server=on,wait=off", "--monitor", "chardev=qmp"]
        return try DaemonProcess(arguments: monitorArguments + arguments, monitor: monitor)
    }

    // MARK: Commands

    /// Executes a command with arguments as they are on the wire.
    @discardableResult
    func execute(_ command: String, _ arguments: JSONObject = [:]) async throws -> JSON {
        try await qmp.execute(command, arguments)
    }

    /// Adds a node.
    func add(_ options: JSONObject) async throws { try await execute("blockdev-add", options) }

    /// Adds a node for a file of the directory.
    func addFile(_ node: String, _ name: String) async throws {
        try await add([
            "driver": "file", "node-name": .string(node), "filename": .string(directory.file(name)), "discard": "unmap",
        ])
    }

    /// Puts another node under a raw one.
    func replaceFile(of node: String, by file: String) async throws {
        try await execute(
            "blockdev-reopen",
            ["options": [["driver": "raw", "node-name": .string(node), "file": .string(file), "discard": "unmap"]]])
    }

    /// Starts the NBD server. It waits for its clients however long other tests keep the processors.
    func startServer() async throws {
        try await execute(
            "nbd-server-start",
            [
                "addr": ["type": "unix", "data": ["path": .string(directory.file("nbd"))]], "max-connections": 0,
                "handshake-max-seconds": 0,
            ])
    }

    /// Exports a node under its own name, writable; further members may be added.
    func export(_ node: String, _ more: JSONObject = [:]) async throws {
        var arguments: JSONObject = ["type": "nbd", "id": .string(node), "node-name": .string(node), "writable": true]
        for member in more.members { arguments[member.name] = member.value }
        try await execute("block-export-add", arguments)
    }

    /// Disconnects the clients of an export, and returns when it is gone.
    func removeExport(_ node: String) async throws {
        let events = qmp.events()
        try await qmp.blockExportDel(id: node, mode: .hard)
        for await event in events where event.name == "BLOCK_EXPORT_DELETED" {
            if event.data?["id"] == .string(node) { return }
        }
    }

    /// Runs a command of `qemu-io` on a node; its complaints.
    @discardableResult
    func io(_ node: String, _ command: String) async throws -> String {
        try await qmp.humanMonitorCommand(commandLine: "qemu-io \(node) \"\(command)\"")
    }

    /// The bitmaps of a node, the newest first.
    func bitmaps(of node: String) async throws -> [BlockDirtyInfo] {
        try await qmp.queryDirtyBitmaps(nodeName: node)[node] ?? []
    }

    /// The bytes that a filter's bitmaps cover.
    func filterCounts(_ filter: String = "cbw") async throws -> FilterCounts {
        let counts = try await bitmaps(of: filter).map(\.count)
        try #require(counts.count == 3)
        return FilterCounts(access: counts[0], done: counts[1], copy: counts[2])
    }

    /// Asks again and again until a condition of the daemon's holds; each question is a round trip.
    func wait(until condition: () async throws -> Bool) async throws {
        while try await !condition() { try Task.checkCancellation() }
    }

    // MARK: NBD

    /// A client of an export in the transmission phase.
    func connect(
        _ export: String, headers: NBDHeaderMode = .structured, contexts: [String] = []
    ) async throws -> NBDTestClient {
        try await NBDTestClient.open(directory.file("nbd"), export, headers: headers, contexts: contexts)
    }

    // MARK: Files

    /// Makes a file in the directory with these bytes.
    func makeFile(_ name: String, _ bytes: [UInt8]) async throws {
        let file = try await FileDescriptor.open(directory.file(name), [.readWrite, .create])
        defer { file.closeNow() }
        try await file.ftruncate(to: bytes.count)
        let buffer = BufferPool.shared.take(count: bytes.count)
        defer { BufferPool.shared.give(buffer) }
        bytes.withUnsafeBytes { buffer.copy(from: IOBuffer($0)) }
        try await file.writeFully(from: buffer, at: 0)
    }

    /// Makes an empty file of a size in the directory.
    func makeFile(_ name: String, size: Int) async throws {
        let file = try await FileDescriptor.open(directory.file(name), [.readWrite, .create])
        defer { file.closeNow() }
        try await file.ftruncate(to: size)
    }

    /// The bytes of a file in the directory.
    func contents(_ name: String) async throws -> [UInt8] {
        let file = try await FileDescriptor.open(directory.file(name), [.readOnly])
        defer { file.closeNow() }
        let buffer = BufferPool.shared.take(count: try await file.statx().size)
        defer { BufferPool.shared.give(buffer) }
        let count = try await file.readFully(into: buffer, at: 0)
        return Array(buffer.bytes[..<count])
    }

    /// The bytes that a file in the directory takes.
    func allocatedSize(_ name: String) async throws -> Int {
        try await FileDescriptor.statx(directory.file(name)).allocatedSize
    }
}

/// The bytes that the bitmaps of a copy-before-write filter cover.
struct FilterCounts: Equatable {
    var access: Int64
    var done: Int64
    var copy: Int64
}
