import BlockExports
import BlockGraph
import Glibc
import IOLoop
import NBDProtocol
import StorageTestSupport
import Testing

@Suite struct NBDServerTests {
    @GraphActor
    private static func message(_ body: @GraphActor () async throws(BlockError) -> Void) async -> String {
        do throws(BlockError) {
            try await body()
            return ""
        } catch {
            return error.description
        }
    }

    @Test func `a server starts and stops once at a time`() async throws {
        try await NBDFixture.run { fixture in
            let server = fixture.server
            let path = fixture.directory.file("other")
            #expect(
                await Self.message { () async throws(BlockError) in try await server.start(at: .unix(path: path)) }
                    == "NBD server already running")
            try await server.stop()
            #expect(access(fixture.path, F_OK) != 0)
            #expect(await fixture.list.all.isEmpty)
            #expect(
                await Self.message { () async throws(BlockError) in try await server.stop() }
                    == "NBD server not running")
            try await server.start(at: .unix(path: path), .patient)
            let replies = try await NBDTestClient(path: path).option(3)
            #expect(replies.map(\.type) == [1])
        }
    }

    @Test func `addresses that cannot be bound are told in the known words`() async throws {
        await onLoop {
            let server = await NBDServer(exports: BlockExportList())
            let long = "/" + String(repeating: "x", count: 200)
            let cases: [(NBDServerAddress, String)] = [
                (.unix(path: "/nope/x"), "Failed to bind socket to /nope/x: No such file or directory"),
                (.unix(path: long), "UNIX socket path '\(long)' is too long"),
                (
                    .inet(host: "10.99.99.99", service: "1234", family: .any),
                    "Failed to bind socket: Cannot assign requested address"
                ),
            ]
            for (address, text) in cases {
                #expect(
                    await Self.message { () async throws(BlockError) in try await server.start(at: address) } == text)
            }
        }
    }

    @Test func `TCP and inherited sockets are served`() async throws {
        try await NBDFixture.run { fixture in
            let server = fixture.server
            var limits = NBDServer.Limits()
            limits.handshakeMaximumSeconds = 0
            try await server.stop()
            try await server.start(at: .inet(host: "127.0.0.1", service: "0", family: .any), limits)
            let address = try #require(await server.addresses.first)
            let client = try await Socket.connect(address)
            defer { client.descriptor.closeNow() }
            let buffer = BufferPool.shared.take(count: 18)
            defer { BufferPool.shared.give(buffer) }
            #expect(try await client.recvFully(into: buffer) == 18)
            try await server.stop()
            let listening = try Socket.listen(.unix(path: fixture.path))
            try await server.start(at: .descriptor(listening.descriptor), limits)
            #expect(try await NBDTestClient(path: fixture.path).option(3).map(\.type) == [1])
        }
    }

    @Test func `exports that cannot be are refused in the known words`() async throws {
        try await NBDFixture.run { fixture in
            let texts = await Self.refusals(fixture)
            #expect(
                texts == [
                    "Invalid block export id", "Block export id 'e' is already in use",
                    "NBD server already has export named 'disk'", "Bitmap 'nope' is not found",
                    "Node 'zz' not found", "Dirty bitmap 'nope' not found",
                    "Enabled bitmap 'b' incompatible with readonly export",
                    "Bitmap 'd' is currently in use by another operation and cannot be used",
                    "export name '\(String(repeating: "x", count: 4097))' too long",
                    "description '\(String(repeating: "x", count: 4097))' too long",
                    "",
                ])
        }
    }

    @GraphActor
    private static func refusals(_ fixture: NBDFixture) async -> [String] {
        let node = fixture.node
        _ = try? node.bitmaps.add(name: "b", length: node.length, granularity: 65536)
        _ = try? node.bitmaps.add(name: "d", length: node.length, granularity: 65536)
        node.bitmaps.bitmap(named: "d")?.isRecording = false
        let long = String(repeating: "x", count: 4097)
        let changes: [(inout NBDExportOptions) -> Void] = [
            { $0.id = "1e" }, { $0.id = "e" }, { $0.name = "disk" }, { $0.bitmaps = [.name("nope")] },
            { $0.bitmaps = [.external(node: "zz", name: "b")] }, { $0.bitmaps = [.external(node: "n", name: "nope")] },
            { $0.bitmaps = [.name("b")] }, { $0.bitmaps = [.name("d"), .name("d")] }, { $0.name = long },
            { $0.description = long }, { $0.bitmaps = [.name("d")] },
        ]
        var texts: [String] = []
        for change in changes {
            var options = NBDExportOptions(id: "e2", node: node)
            change(&options)
            texts.append(await message { () throws(BlockError) in try fixture.server.export(options) })
        }
        return texts
    }

    @Test func `an export with clients is kept, or goes with them`() async throws {
        try await NBDFixture.run { fixture in
            let client = try await NBDTestClient.open(fixture.path)
            let list = fixture.list
            #expect(
                await Self.message { () async throws(BlockError) in try await list.remove(id: "zz") }
                    == "Export 'zz' is not found")
            #expect(
                await Self.message { () async throws(BlockError) in try await list.remove(id: "e") }
                    == "export 'e' still in use")
            fixture.driver.hold()
            try await client.post(.write, 0, 512, payload: [UInt8](repeating: 5, count: 512))
            await fixture.driver.waitUntilHeld(1)
            try await list.remove(id: "e", mode: .hard)
            #expect(await client.isAtEnd())
            #expect(await list.all.first?.isShuttingDown == true)
            let other = try await NBDTestClient(path: fixture.path)
            #expect(try await other.option(3).map(\.type) == [1])
            fixture.driver.releaseAll()
            for _ in 0..<5000 where await !list.all.isEmpty { try await IOLoop.sleep(for: .milliseconds(1)) }
            #expect(await list.all.isEmpty)
            #expect(await fixture.graph.backends.isEmpty)
        }
    }

    @Test func `removing is reported once`() async throws {
        try await onLoop { try await Self.removeAndCount() }
    }

    @GraphActor
    private static func removeAndCount() async throws {
        var deleted: [String] = []
        let list = BlockExportList { deleted.append($0) }
        let graph = BlockGraph()
        let server = NBDServer(exports: list)
        let directory = TemporaryDirectory()
        let node = try await graph.open(name: "n", options: NodeOptions(), isOwnedByMonitor: true) { _ in
            MemoryDriver(size: 4096)
        }
        try await server.start(at: .unix(path: directory.file("s")))
        for id in ["a", "b"] {
            var options = NBDExportOptions(id: id, node: node)
            options.name = id
            try server.export(options)
        }
        #expect(list.all.map(\.id) == ["b", "a"])
        try await list.remove(id: "a")
        try? await list.remove(id: "a", mode: .hard)
        try await server.stop()
        #expect(deleted.sorted() == ["a", "b"])
        await graph.closeAll()
    }

    @Test func `stopping ends clients in every state`() async throws {
        try await NBDFixture.run { fixture in
            let silent = try await NBDTestClient(path: fixture.path)
            let busy = try await NBDTestClient.open(fixture.path)
            let flooded = try await NBDTestClient.open(fixture.path)
            for cookie in 0..<100 {
                try await flooded.post(.read, 0, 262_144, flags: .dontFragment, cookie: UInt64(cookie))
            }
            _ = try await busy.read(0, 1)
            try await fixture.server.stop()
            #expect(await silent.isAtEnd())
            #expect(await busy.isAtEnd())
            #expect(await flooded.isAtEnd())
            #expect(await fixture.server.connectionCount == 0)
            #expect(fixture.openSockets == 0)
        }
    }

    @Test func `a client that does not negotiate in time is sent away`() async throws {
        var limits = NBDServer.Limits()
        limits.handshakeMaximumSeconds = 1
        try await NBDFixture.run(limits: limits) { fixture in
            let silent = try await Socket.connect(.unix(path: fixture.path))
            defer { silent.descriptor.closeNow() }
            // Returns at the end of the stream: the greeting is all that comes.
            try await BufferPool.shared.withBuffer(count: 64) { (buffer) async throws(Errno) in
                #expect(try await silent.recvFully(into: buffer) == 18)
            }
            try await fixture.waitUntilAlone()
        }
    }

    @Test func `clients beyond the limit wait for their turn`() async throws {
        var limits = NBDServer.Limits.patient
        limits.maximumConnections = 2
        try await NBDFixture.run(limits: limits) { fixture in
            let first = try await NBDTestClient.open(fixture.path)
            let second = try await NBDTestClient.open(fixture.path)
            _ = try await second.read(0, 1)
            async let third = NBDTestClient.open(fixture.path).read(0, 2)
            try await IOLoop.sleep(for: .milliseconds(20))
            #expect(await fixture.server.connectionCount == 2)
            first.close()
            let bytes = try await third
            #expect(bytes == [0, 0])
        }
    }

    @Test func `a node cannot be resized, or written by others, against the export's will`() async throws {
        try await NBDFixture.run { fixture in
            let text = await Self.resizePermission(fixture)
            #expect(text.contains("permissions 'resize' are both required by"))
            #expect(text.contains("unshared by an unnamed block device (uses node 'n' as 'root' child)"))
        }
    }

    @GraphActor
    private static func resizePermission(_ fixture: NBDFixture) async -> String {
        await message { () throws(BlockError) in
            _ = try fixture.graph.attach("x", to: fixture.node, permissions: PermissionPair(used: .resize))
        }
    }
}
