import BlockExports
import IOLoop
import NBDProtocol
import StorageTestSupport
import Testing

@Suite struct NBDServerFuzzTests {
    /// Plausible bytes of a client, from its flags on.
    private static func conversation(_ random: inout SeededGenerator) -> [UInt8] {
        var stream = big(UInt32(3))
        let isExtended = Bool.random(using: &random)
        func option(_ code: UInt32, _ data: [UInt8] = []) -> [UInt8] {
            big(NBD.optionMagic) + big(code) + big(UInt32(data.count)) + data
        }
        let name = big(UInt32(4)) + Array("disk".utf8)
        stream += option(isExtended ? 11 : 8)
        let query = Array("base:allocation".utf8)
        stream += option(10, name + big(UInt32(1)) + big(UInt32(query.count)) + query)
        if Bool.random(using: &random) { stream += option(UInt32.random(in: 0...12, using: &random), [0, 0, 0, 1]) }
        stream += option(7, name + [0, 1, 0, 3])
        return stream + requests(isExtended, &random)
    }

    private static func requests(_ isExtended: Bool, _ random: inout SeededGenerator) -> [UInt8] {
        var stream: [UInt8] = []
        for _ in 0..<Int.random(in: 1...10, using: &random) {
            let type = UInt16.random(in: 0...9, using: &random)
            let length = UInt64.random(in: 0...200, using: &random)
            let flags = UInt16.random(in: 0...3, using: &random) == 0 ? UInt16.random(in: 0...63, using: &random) : 0
            stream += big(isExtended ? NBD.extendedRequestMagic : NBD.requestMagic) + big(flags) + big(type)
            stream += big(random.next()) + big(UInt64.random(in: 0...70_000, using: &random))
            stream += isExtended ? big(length) : big(UInt32(length))
            if type == 1 || (isExtended && flags & 32 != 0) { stream += random.bytes(Int(length)) }
        }
        return stream
    }

    private static func mutate(_ stream: inout [UInt8], _ random: inout SeededGenerator) {
        for _ in 0..<Int.random(in: 1...4, using: &random) {
            guard let index = stream.indices.randomElement(using: &random) else { return }
            switch Int.random(in: 0..<4, using: &random) {
            case 0: stream[index] = UInt8.random(in: 0...255, using: &random)
            case 1: stream[index] ^= 1 << UInt8.random(in: 0...7, using: &random)
            case 2: stream.remove(at: index)
            default: stream.removeLast(stream.count - index)
            }
        }
    }

    /// Sends one stream and leaves, reading nothing or everything.
    private static func attack(_ path: String, _ random: inout SeededGenerator) async throws {
        let client = try await NBDTestClient(path: path, flags: nil)
        var stream = conversation(&random)
        mutate(&stream, &random)
        // The server may close the connection in the middle.
        try? await client.send(stream)
        if Int.random(in: 0..<4, using: &random) == 0 {
            try? client.socket.shutdown(.sending)
            _ = await client.isAtEnd()
        }
        client.close()
    }

    @Test func `100,000 mutated inputs over real connections harm nobody else`() async throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("NBD server fuzz, seed \(seed)")
        var limits = NBDServer.Limits.patient
        limits.maximumConnections = 0
        try await NBDFixture.run(size: 65536, limits: limits) { fixture in
            let honest = try await NBDTestClient.open(fixture.path, "disk")
            try await withThrowingTaskGroup(of: Void.self) { group in
                for worker in 0..<8 {
                    group.addTask {
                        var random = SeededGenerator(seed: seed &+ UInt64(worker))
                        for _ in 0..<Self.inputs / 8 { try await Self.attack(fixture.path, &random) }
                    }
                }
                for _ in 0..<200 {
                    #expect(try await honest.call(.read, 0, 512).error == 0)
                    await Task.yield()
                }
                try await group.waitForAll()
            }
            #expect(try await honest.call(.flush, 0, 0).error == 0)
            honest.close()
            try await fixture.waitUntilAlone()
            #expect(fixture.openSockets == 1)
        }
    }

    private static let inputs = 100_000
}
