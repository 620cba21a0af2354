import Glibc
import IOLoop
import JSON
import NBDProtocol
import QMPClient
import QMPSchema
import StorageTestSupport
import Testing

/// The daemon ends when it is told to, whatever its clients are doing.
@Suite
struct ShutdownTests {
    private static let size = 4 * cluster

    /// The ways to end a daemon.
    enum Ending: CaseIterable, Sendable {
        case quit
        case terminate
        case interrupt
        case hangUp

        func apply(to daemon: Daemon) async throws {
            switch self {
            case .quit: try await daemon.qmp.quit()
            case .terminate: daemon.process.signal(SIGTERM)
            case .interrupt: daemon.process.signal(SIGINT)
            case .hangUp: daemon.process.signal(SIGHUP)
            }
        }
    }

    /// Ends the daemon after `body`, whose clients stay connected until then. It has to leave with status 0, hang up,
    /// and take its socket away.
    private func expectEnd(
        by ending: Ending, iothread: Bool = false,
        after body: @escaping @Sendable (Daemon) async throws -> [NBDTestClient]
    ) async throws {
        try await Daemon.run { daemon in
            try await daemon.makeFile("disk.img", size: Self.size)
            try await daemon.execute("object-add", ["qom-type": "iothread", "id": "io0"])
            try await daemon.execute(
                "object-add", ["qom-type": "throttle-group", "id": "slow", "limits": ["iops-total": 1]])
            try await daemon.addFile("file", "disk.img")
            try await daemon.add(["driver": "blkdebug", "node-name": "debug", "image": "file"])
            try await daemon.add(["driver": "raw", "node-name": "disk", "file": "debug"])
            try await daemon.add([
                "driver": "throttle", "node-name": "slow", "throttle-group": "slow", "file": "disk",
            ])
            try await daemon.startServer()
            try await daemon.export("disk", iothread ? ["iothread": "io0"] : [:])
            try await daemon.export("slow", iothread ? ["iothread": "io0"] : [:])
            let clients = try await body(daemon)
            try await ending.apply(to: daemon)
            #expect(try await daemon.process.waitForEnd() == .exited(0))
            for client in clients { #expect(await client.isAtEnd()) }
            #expect(access(daemon.directory.file("nbd"), F_OK) != 0)
        }
    }

    @Test(arguments: Ending.allCases, [false, true])
    func `the daemon ends while clients are connected`(_ ending: Ending, iothread: Bool) async throws {
        try await expectEnd(by: ending, iothread: iothread) { daemon in
            var clients: [NBDTestClient] = []
            for _ in 0..<4 { clients.append(try await daemon.connect("disk")) }
            #expect(try await clients[0].writeCluster(0, 1) == 0)
            // One that has not chosen an export, and one that has not even sent its flags.
            clients.append(try await NBDTestClient(path: daemon.directory.file("nbd")))
            clients.append(try await NBDTestClient(path: daemon.directory.file("nbd"), flags: nil))
            return clients
        }
    }

    @Test(arguments: [Ending.quit, .terminate], [false, true])
    func `the daemon ends in the middle of requests`(_ ending: Ending, iothread: Bool) async throws {
        try await expectEnd(by: ending, iothread: iothread) { daemon in
            var clients: [NBDTestClient] = []
            for _ in 0..<3 { clients.append(try await daemon.connect("disk")) }
            // A header without its payload, more requests than are taken at a time, and replies that nobody takes.
            try await clients[0].post(.write, 0, 65536, payload: [1, 2, 3])
            for cookie in 0..<200 {
                try await clients[1].post(
                    .write, UInt64(cookie * 512), 512, cookie: UInt64(cookie), payload: clusterBytes(0, 512))
            }
            for cookie in 0..<200 { try await clients[2].post(.read, 0, UInt64(Self.size), cookie: UInt64(cookie)) }
            return clients
        }
    }

    @Test(arguments: [Ending.quit, .terminate], [false, true])
    func `the daemon ends while requests are held`(_ ending: Ending, iothread: Bool) async throws {
        try await expectEnd(by: ending, iothread: iothread) { daemon in
            let (halted, slow) = (try await daemon.connect("disk"), try await daemon.connect("slow"))
            try await daemon.hold("write_aio", below: "disk")
            try await halted.post(.write, 0, 512, payload: clusterBytes(0, 512))
            try await daemon.waitUntilHeld(below: "disk")
            // One a second; all of them would take minutes.
            for cookie in 0..<120 { try await slow.post(.read, 0, 512, cookie: UInt64(cookie)) }
            _ = try await slow.reply(readLength: 512)
            return [halted, slow]
        }
    }

    @Test(arguments: [Ending.quit, .terminate], [false, true])
    func `the daemon ends when its clients have vanished`(_ ending: Ending, iothread: Bool) async throws {
        try await expectEnd(by: ending, iothread: iothread) { daemon in
            for round in 0..<20 {
                let client = try await daemon.connect("disk")
                for cookie in 0..<round {
                    try await client.post(.write, 0, 4096, cookie: UInt64(cookie), payload: clusterBytes(0, 4096))
                    try await client.post(.read, 0, 65536, cookie: UInt64(cookie))
                }
                if round % 2 == 0 { try await client.send([0x25, 0x60, 0x95]) }
                client.close()
            }
            return []
        }
    }

    @Test func `a filter whose target is slow can be removed`() async throws {
        try await Daemon.run { daemon in
            try await daemon.openDisk(numberedDisk(Self.size))
            try await daemon.openScratch(size: Self.size)
            try await daemon.execute(
                "object-add", ["qom-type": "throttle-group", "id": "slow", "limits": ["bps-total": 64]])
            try await daemon.add([
                "driver": "throttle", "node-name": "throttled", "throttle-group": "slow", "file": "scratch",
            ])
            try await daemon.cut(["target": "throttled", "on-cbw-error": "break-snapshot", "cbw-timeout": 1])
            let guest = try await daemon.connect("disk")
            for index in 0..<2 { #expect(try await guest.writeCluster(index, 200) == 0) }
            // The copy of the second cluster still waits: for 17 minutes if nobody let it through.
            try await daemon.endCut()
            try await daemon.qmp.blockdevDel(nodeName: "throttled")
            #expect(try await guest.readCluster(1).allSatisfy { $0 == 200 })
        }
    }
}
