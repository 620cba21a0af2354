import BlockExports
import BlockGraph
import Glibc
import IOLoop
import NBDProtocol
import StorageTestSupport
import Synchronization
import Testing

@Suite struct NBDConnectionTests {
    @Test(arguments: [NBDHeaderMode.simple, .structured, .extended])
    func `128 requests of one connection are under way at a time, and no more`(headers: NBDHeaderMode) async throws {
        try await NBDFixture.run { fixture in
            let client = try await NBDTestClient.open(fixture.path, headers: headers)
            fixture.driver.hold()
            for cookie in 0..<200 {
                try await client.post(.read, UInt64(cookie) * 512, 512, cookie: UInt64(cookie))
            }
            await fixture.driver.waitUntilHeld(128)
            #expect(fixture.driver.heldCount == 128)
            fixture.driver.releaseAll()
            var cookies: Set<UInt64> = []
            for _ in 0..<200 { cookies.insert(try await client.reply(readLength: 512).cookie) }
            #expect(cookies == Set(0..<200))
        }
    }

    @Test func `requests overtake one another`() async throws {
        try await NBDFixture.run { fixture in
            let client = try await NBDTestClient.open(fixture.path)
            fixture.driver.hold()
            try await client.post(.read, 0, 512, cookie: 1)
            try await client.post(.flush, 0, 0, cookie: 2)
            #expect(try await client.reply().cookie == 2)
            fixture.driver.releaseAll()
            #expect(try await client.reply(readLength: 512).cookie == 1)
        }
    }

    @Test(arguments: [1, 7, 27, 28, 29, 100, 5000])
    func `requests may arrive in pieces of any size`(piece: Int) async throws {
        try await NBDFixture.run { fixture in
            let client = try await NBDTestClient.open(fixture.path)
            var stream: [UInt8] = []
            for index in 0..<20 {
                let write = NBDRequest(
                    type: 1, cookie: UInt64(2 * index), offset: UInt64(index) * 300, length: 300)
                stream += client.encoded(write) + [UInt8](repeating: UInt8(index), count: 300)
                stream += client.encoded(NBDRequest(type: 3, cookie: UInt64(2 * index + 1), offset: 0, length: 0))
            }
            for start in stride(from: 0, to: stream.count, by: piece) {
                try await client.send(Array(stream[start..<min(start + piece, stream.count)]))
            }
            var cookies: Set<UInt64> = []
            for _ in 0..<40 { cookies.insert(try await client.reply().cookie) }
            #expect(cookies == Set(0..<40))
            for index in 0..<20 {
                #expect(try await client.read(UInt64(index) * 300, 300) == [UInt8](repeating: UInt8(index), count: 300))
            }
        }
    }

    @Test func `requests sent along with the last option are served`() async throws {
        try await NBDFixture.run { fixture in
            let client = try await NBDTestClient(path: fixture.path)
            let request = client.encoded(NBDRequest(type: 3, cookie: 9, offset: 0, length: 0))
            try await client.send(big(NBD.optionMagic) + big(UInt32(1)) + big(UInt32(4)) + Array("disk".utf8) + request)
            #expect(try await client.receive(8) == big(UInt64(1 << 20)))
            _ = try await client.receive(2)
            #expect(try await client.reply().cookie == 9)
        }
    }

    @Test func `disconnecting waits for what is under way`() async throws {
        try await NBDFixture.run { fixture in
            let client = try await NBDTestClient.open(fixture.path)
            fixture.driver.hold()
            try await client.post(.read, 0, 512, cookie: 7)
            await fixture.driver.waitUntilHeld(1)
            try await client.post(.disconnect, 0, 0)
            try await client.post(.flush, 0, 0, cookie: 8)
            fixture.driver.releaseAll()
            #expect(try await client.reply(readLength: 512).cookie == 7)
            #expect(await client.isAtEnd())
            try await fixture.waitUntilAlone()
            #expect(fixture.openSockets == 1)
            #expect(fixture.driver.count(.flush) == 0)
        }
    }

    @Test(arguments: 0..<6)
    func `a client that vanishes leaves nothing behind`(kind: Int) async throws {
        try await NBDFixture.run { fixture in
            let client = try await NBDTestClient.open(fixture.path)
            switch kind {
            case 0: break
            case 1: try await client.send(Array(repeating: 0x25, count: 13))
            case 2:
                let header = client.encoded(NBDRequest(type: 1, cookie: 1, offset: 0, length: 100_000))
                try await client.send(header + [UInt8](repeating: 1, count: 70_000))
            case 3, 4:
                fixture.driver.hold()
                for cookie in 0..<50 { try await client.post(.read, 0, 4096, cookie: UInt64(cookie)) }
                await fixture.driver.waitUntilHeld(50)
            default:
                // Replies that nobody reads fill the socket.
                for cookie in 0..<100 {
                    try await client.post(.read, 0, 262_144, flags: .dontFragment, cookie: UInt64(cookie))
                }
            }
            if kind == 4 { fixture.driver.releaseAll() }
            client.close()
            if kind == 3 {
                let other = try await NBDTestClient.open(fixture.path)
                #expect(try await other.call(.flush, 0, 0).error == 0)
                other.close()
                fixture.driver.releaseAll()
            }
            try await fixture.waitUntilAlone()
            #expect(fixture.openSockets == 1)
        }
    }

    @Test func `a drained node holds requests back, which then go on`() async throws {
        try await NBDFixture.run { fixture in
            let client = try await NBDTestClient.open(fixture.path)
            let (graph, node, driver) = (fixture.graph, fixture.node, fixture.driver)
            let before = driver.count(.read)
            let (isDrained, isEnough) = (AsyncSemaphore(0), AsyncSemaphore(0))
            async let section: Void = Self.drain(graph, node) {
                isDrained.signal()
                await isEnough.wait()
            }
            await isDrained.wait()
            for cookie in 0..<10 { try await client.post(.read, 0, 512, cookie: UInt64(cookie)) }
            try await IOLoop.sleep(for: .milliseconds(20))
            #expect(driver.count(.read) == before)
            isEnough.signal()
            try await section
            for _ in 0..<10 { _ = try await client.reply(readLength: 512) }
            #expect(driver.count(.read) == before + 10)
        }
    }

    @GraphActor
    private static func drain(_ graph: BlockGraph, _ node: BlockNode, _ body: @Sendable () async -> Void) async throws {
        try await graph.drained([node]) { () async throws(BlockError) in await body() }
    }

    @Test func `connections are spread over the loops of the export`() async throws {
        try await withLoop("nbd-a") { first in
            try await withLoop("nbd-b") { second in
                try await NBDFixture.run(configure: { _, options in
                    options.isWritable = true
                    options.loops = [first, second]
                }) { fixture in
                    var clients: [NBDTestClient] = []
                    for index in 0..<4 {
                        let client = try await NBDTestClient.open(fixture.path)
                        _ = try await client.read(UInt64(index), 1)
                        clients.append(client)
                        let loops = fixture.driver.state.withLock { $0.loops }
                        #expect(loops == (index == 0 ? ["nbd-a"] : ["nbd-a", "nbd-b"]))
                    }
                    for client in clients { client.close() }
                    try await fixture.waitUntilAlone()
                }
            }
        }
    }

    @Test func `many connections with many requests each agree with the bytes`() async throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("NBD connections, seed \(seed)")
        try await withLoop("nbd-c") { loop in
            try await NBDFixture.run(configure: { _, options in
                options.isWritable = true
                options.loops = [.main, loop]
            }) { fixture in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for index in 0..<8 {
                        group.addTask { try await Self.exercise(fixture.path, region: index, seed &+ UInt64(index)) }
                    }
                    try await group.waitForAll()
                }
                try await fixture.waitUntilAlone()
            }
        }
    }

    /// Writes and reads within a region of 128 KiB of its own, 20 requests at a time.
    private static func exercise(_ path: String, region: Int, _ seed: UInt64) async throws {
        var random = SeededGenerator(seed: seed)
        let client = try await NBDTestClient.open(path, headers: region % 2 == 0 ? .structured : .extended)
        let base = UInt64(region) * 131_072
        var model = [UInt8](repeating: 0, count: 131_072)
        for _ in 0..<10 {
            for slot in 0..<20 {
                let start = slot * 6400 + Int.random(in: 0..<3000, using: &random)
                let bytes = random.bytes(Int.random(in: 1...3000, using: &random))
                model.replaceSubrange(start..<start + bytes.count, with: bytes)
                try await client.post(
                    .write, base + UInt64(start), UInt64(bytes.count), cookie: UInt64(slot), payload: bytes)
            }
            for _ in 0..<20 { #expect(try await client.reply().error == 0) }
            #expect(try await client.read(base, model.count) == model, "seed \(seed)")
        }
    }
}
