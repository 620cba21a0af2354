import IOLoop
import JSON
import NBDProtocol
import QMPClient
import QMPProtocol
import QMPSchema
import StorageTestSupport
import Testing

/// Clients of the monitor that go away when they like.
@Suite
struct MonitorTests {
    private static func connect(_ daemon: Daemon) async throws -> RawMonitorClient {
        RawMonitorClient(socket: try await Socket.connect(.unix(path: daemon.directory.file("qmp"))))
    }

    @Test func `the next client gets no replies of one that has vanished`() async throws {
        try await Daemon.run { daemon in
            try await daemon.makeFile("disk.img", size: 4 * cluster)
            await daemon.qmp.close()
            let texts = [
                "", "{", #"{"execute": "qmp_capabilities"}"#, #"{"execute": "qmp_capabilities"}{"execute": "query-"#,
                #"{"execute": "qmp_capabilities"}{"execute": "query-qmp-schema", "id": 1}"#,
                #"{"execute": "qmp_capabilities"}"#
                    + String(repeating: #"{"execute": "query-commands", "id": 2}"#, count: 50),
                #"{"execute": "qmp_capabilities"}"#
                    + #"{"execute": "blockdev-add", "arguments": {"driver": "null-co", "node-name": "n"}}"#,
            ]
            for round in 0..<28 {
                let vanishing = try await Self.connect(daemon)
                try await vanishing.send(texts[round % texts.count])
                // Some take what is sent to them first, so that the daemon notices their end later.
                if round % 4 == 0 { _ = try await vanishing.receiveSome() }
                vanishing.close()

                let next = try await QMPClient.connect(to: .unix(path: daemon.directory.file("qmp")))
                #expect(try await next.queryBlockExports().isEmpty)
                #expect(try await next.queryVersion().qemu.major == 11)
                await next.close()
            }
            let last = try await QMPClient.connect(to: .unix(path: daemon.directory.file("qmp")))
            // A command that was sent whole is executed, once.
            #expect(try await last.queryNamedBlockNodes().map(\.nodeName) == ["n"])
            await last.close()
        }
    }

    @Test func `a client that vanishes while its command waits leaves the next one alone`() async throws {
        try await Daemon.run { daemon in
            try await daemon.openDisk(numberedDisk(4 * cluster))
            try await daemon.hold("write_aio", below: "disk")
            await daemon.qmp.close()
            let vanishing = try await Self.connect(daemon)
            try await vanishing.send(
                #"{"execute": "qmp_capabilities"}"#
                    + #"{"execute": "human-monitor-command", "id": 1, "#
                    + #""arguments": {"command-line": "qemu-io disk \"wait_break held\""}}"#
                    + #"{"execute": "query-commands", "id": 2}"#)
            vanishing.close()

            // Commands take turns: the next client's have to wait until the first one's sees what it waits for.
            let path = daemon.directory.file("qmp")
            async let connected = QMPClient.connect(to: .unix(path: path))
            let guest = try await daemon.connect("disk")
            try await guest.post(.write, 0, 512, payload: clusterBytes(0, 512))
            let next = try await connected
            #expect(try await next.queryBlockExports().map(\.id) == ["disk"])
            #expect(try await next.humanMonitorCommand(commandLine: "qemu-io disk \"resume held\"") == "")
            #expect(try await guest.reply().error == 0)
            await next.close()
        }
    }

    @Test func `commands that are sent at once each get their reply, and no event is lost`() async throws {
        try await Daemon.run { daemon in
            try await daemon.openDisk(numberedDisk(4 * cluster))
            let events = daemon.qmp.events()
            try await withThrowingTaskGroup { group in
                for number in 0..<4 {
                    group.addTask {
                        for round in 0..<10 {
                            let name = "n\(number)-\(round)"
                            try await daemon.add(["driver": "null-co", "node-name": .string(name)])
                            try await daemon.export(name)
                            try await daemon.qmp.blockExportDel(id: name, mode: .hard)
                            try await daemon.qmp.blockdevDel(nodeName: name)
                        }
                    }
                }
                try await group.waitForAll()
            }
            var deleted: Set<JSON> = []
            for await event in events where event.name == "BLOCK_EXPORT_DELETED" {
                if let id = event.data?["id"] { #expect(deleted.insert(id).inserted) }
                if deleted.count == 40 { break }
            }
        }
    }
}

/// A client that speaks raw bytes.
private final class RawMonitorClient: Sendable {
    private let socket: Socket

    init(socket: Socket) { self.socket = socket }

    func send(_ text: String) async throws {
        let bytes = Array(text.utf8)
        guard !bytes.isEmpty else { return }
        let buffer = BufferPool.shared.take(count: bytes.count)
        defer { BufferPool.shared.give(buffer) }
        bytes.withUnsafeBytes { buffer.copy(from: IOBuffer($0)) }
        try await socket.sendFully(from: buffer)
    }

    /// Some bytes, at least one.
    func receiveSome() async throws -> [UInt8] {
        let buffer = BufferPool.shared.take(count: 4096)
        defer { BufferPool.shared.give(buffer) }
        let count = try await socket.recv(into: buffer)
        return Array(buffer.bytes[..<count])
    }

    func close() { socket.descriptor.closeNow() }
}
