import BlockExports
import BlockGraph
import IOLoop
import NBDProtocol
import StorageTestSupport
import Testing

@Suite struct NBDBlockStatusTests {
    static let contexts = ["base:allocation", "qemu:allocation-depth", "qemu:dirty-bitmap:b"]

    /// An export with a bitmap of 64 KiB granularity and data in the third 64 KiB.
    func run(_ body: @escaping @Sendable (NBDFixture) async throws -> Void) async throws {
        try await NBDFixture.run(
            size: 1 << 20,
            configure: { node, options in
                options.isWritable = true
                options.allocationDepth = true
                options.bitmaps = [.name("b")]
                _ = try? node.bitmaps.add(name: "b", length: node.length, granularity: 65536)
            },
            { fixture in
                let writer = try await NBDTestClient.open(fixture.path)
                _ = try await writer.call(.write, 131_072, 4096, payload: [UInt8](repeating: 1, count: 4096))
                try await body(fixture)
            })
    }

    func extents(_ pairs: (UInt64, UInt32)...) -> [NBDExtent] {
        pairs.map { NBDExtent(length: $0.0, status: $0.1) }
    }

    @Test(arguments: [NBDHeaderMode.structured, .extended])
    func `each context has its extents`(headers: NBDHeaderMode) async throws {
        try await run { fixture in
            let client = try await NBDTestClient.open(fixture.path, headers: headers, contexts: Self.contexts)
            let reply = try await client.call(.blockStatus, 0, 1 << 20)
            let rest: UInt64 = (1 << 20) - 131_072
            #expect(reply.extents(0) == extents((131_072, 3), (4096, 0), (rest - 4096, 3)))
            #expect(reply.extents(1) == extents((131_072, 0), (4096, 1), (rest - 4096, 0)))
            #expect(reply.extents(2) == extents((131_072, 0), (65536, 1), (rest - 65536, 0)))
            let part = try await client.call(.blockStatus, 131_073, 65535)
            #expect(part.extents(0) == extents((4095, 0), (61440, 3)))
            #expect(part.extents(2) == extents((65535, 1)))
        }
    }

    @Test func `one extent is told when one is asked for`() async throws {
        try await run { fixture in
            let client = try await NBDTestClient.open(fixture.path, contexts: Self.contexts)
            let reply = try await client.call(.blockStatus, 131_072, 65536, flags: .requestOne)
            #expect(reply.extents(0) == extents((4096, 0)))
            #expect(reply.extents(1) == extents((4096, 1)))
            #expect(reply.extents(2) == extents((65536, 1)))
            let short = try await client.call(.blockStatus, 0, 1, flags: .requestOne)
            #expect(short.extents(0) == extents((1, 3)))
        }
    }

    @Test func `only selected contexts are told, and a payload narrows them further`() async throws {
        try await run { fixture in
            let client = try await NBDTestClient.open(
                fixture.path, headers: .extended, contexts: ["base:allocation", "qemu:dirty-bitmap:b"])
            #expect(try await client.call(.blockStatus, 0, 4096).chunks.count == 2)
            let payload = big(UInt64(131_072)) + big(UInt32(2))
            let reply = try await client.call(
                .blockStatus, 131_072, UInt64(payload.count), flags: .payloadLength, payload: payload)
            #expect(reply.chunks == [.status(2, extents((65536, 1), (65536, 0)))])
            let bad = big(UInt64(4096)) + big(UInt32(1))
            let refused = try await client.call(
                .blockStatus, 0, UInt64(bad.count), flags: .payloadLength, payload: bad)
            #expect(refused.error == NBDError.invalid.rawValue)
            #expect(refused.message == "CMD_BLOCK_STATUS payload not valid")
            let long = [UInt8](repeating: 0, count: 100_000)
            let skipped = try await client.call(
                .blockStatus, 0, UInt64(long.count), flags: .payloadLength, payload: long)
            #expect(skipped.error == NBDError.invalid.rawValue)
            #expect(try await client.read(0, 1) == [0])
        }
    }

    @Test func `a node that cannot tell makes an error, bitmaps alone do not`() async throws {
        try await run { fixture in
            let client = try await NBDTestClient.open(fixture.path, contexts: Self.contexts)
            let bitmapOnly = try await NBDTestClient.open(fixture.path, contexts: ["qemu:dirty-bitmap:b"])
            fixture.driver.fail(.blockStatus, with: .EACCES)
            let reply = try await client.call(.blockStatus, 0, 4096)
            #expect(reply.error == NBDError.invalid.rawValue)
            #expect(reply.message == "can't get block status")
            #expect(try await bitmapOnly.call(.blockStatus, 0, 4096).extents(2) == extents((4096, 0)))
        }
    }

    @Test(arguments: [NBDHeaderMode.structured, .extended])
    func `a bitmap of many runs is told in pieces that join up`(headers: NBDHeaderMode) async throws {
        // 512 bytes of granularity, every second granule dirty: more runs than one reply may have.
        let size = 512 * 300_000
        try await NBDFixture.run(
            size: size,
            configure: { node, options in
                guard let bitmap = try? node.bitmaps.add(name: "b", length: node.length, granularity: 512) else {
                    return
                }
                options.isWritable = true
                options.bitmaps = [.name("b")]
                for granule in stride(from: Int64(0), to: 300_000, by: 2) {
                    bitmap.markDirty(granule * 512..<granule * 512 + 512)
                }
            },
            { fixture in
                let client = try await NBDTestClient.open(
                    fixture.path, headers: headers, contexts: ["qemu:dirty-bitmap:b"])
                var offset: UInt64 = 0
                var replies = 0
                while offset < UInt64(size) {
                    let reply = try await client.call(.blockStatus, offset, UInt64(size) - offset)
                    let runs = try #require(reply.extents(2))
                    #expect(runs.count <= NBD.maximumExtents)
                    for run in runs {
                        guard run.length == 512, run.status == (offset / 512 % 2 == 0 ? 1 : 0) else {
                            Issue.record("at \(offset): \(run)")
                            return
                        }
                        offset += run.length
                    }
                    replies += 1
                }
                #expect(replies == 3)
            })
    }

    @Test func `the bitmap is busy while it is exported`() async throws {
        try await run { fixture in
            let bitmap = try #require(fixture.node.bitmaps.bitmap(named: "b"))
            #expect(bitmap.isBusy)
            try await fixture.server.stop()
            #expect(!bitmap.isBusy)
        }
    }
}
