import BlockExports
import BlockGraph
import IOLoop
import NBDProtocol
import StorageTestSupport
import Synchronization
import Testing

@Suite struct NBDCommandTests {
    static let modes: [NBDHeaderMode] = [.simple, .structured, .extended]

    @Test(arguments: modes)
    func `what is written is read`(headers: NBDHeaderMode) async throws {
        try await NBDFixture.run { fixture in
            let client = try await NBDTestClient.open(fixture.path, headers: headers)
            var random = SeededGenerator(seed: 1)
            for (offset, count) in [(0, 1), (1, 3), (511, 2), (4096, 4096), (100_000, 70_000), (1_048_575, 1)] {
                let bytes = random.bytes(count)
                let reply = try await client.call(.write, UInt64(offset), UInt64(count), payload: bytes)
                #expect(reply.error == 0)
                #expect(try await client.read(UInt64(offset), count) == bytes)
            }
        }
    }

    @Test(arguments: modes)
    func `a random mix of commands behaves as a byte array`(headers: NBDHeaderMode) async throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("NBD command model, seed \(seed)")
        try await NBDFixture.run(size: 200_000, alignment: 512) { fixture in
            var random = SeededGenerator(seed: seed)
            var model = [UInt8](repeating: 0, count: 200_000)
            let client = try await NBDTestClient.open(fixture.path, headers: headers, blockSize: false)
            for step in 0..<100 {
                let offset = Int.random(in: 0..<model.count, using: &random)
                let count = Int.random(in: 0...min(model.count - offset, 40_000), using: &random)
                let range = offset..<offset + count
                switch Int.random(in: 0..<5, using: &random) {
                case 0, 1:
                    let bytes = random.bytes(count)
                    let reply = try await client.call(.write, UInt64(offset), UInt64(count), payload: bytes)
                    #expect(reply.error == 0)
                    model.replaceSubrange(range, with: bytes)
                case 2:
                    let flags: NBDCommandFlags = Bool.random(using: &random) ? .noHole : []
                    let reply = try await client.call(.writeZeroes, UInt64(offset), UInt64(count), flags: flags)
                    #expect(reply.error == 0)
                    model.replaceSubrange(range, with: repeatElement(0, count: count))
                default:
                    let bytes = try await client.read(UInt64(offset), count)
                    #expect(bytes == Array(model[range]), "seed \(seed) step \(step) range \(range)")
                }
            }
        }
    }

    @Test func `long reads tell holes apart, short reads and DF do not`() async throws {
        try await NBDFixture.run { fixture in
            let client = try await NBDTestClient.open(fixture.path)
            let data = [UInt8](repeating: 7, count: 8192)
            _ = try await client.call(.write, 65536, 8192, payload: data)
            let whole = try await client.call(.read, 0, 1 << 20)
            #expect(
                whole.chunks == [.hole(0, 65536), .data(65536, data), .hole(73728, (1 << 20) - 73728)])
            let fragment = try await client.call(.read, 0, 1 << 20, flags: .dontFragment)
            #expect(fragment.chunks.count == 1)
            #expect(try fragment.data(0, 1 << 20) == whole.data(0, 1 << 20))
            #expect(try await client.call(.read, 0, 512).chunks == [.data(0, [UInt8](repeating: 0, count: 512))])
            #expect(try await client.call(.read, 0, 0).chunks == [])
        }
    }

    @Test(arguments: 1...20)
    func `a read of many holes has at most eight chunks`(pieces: Int) async throws {
        try await NBDFixture.run { fixture in
            let client = try await NBDTestClient.open(fixture.path)
            for piece in 0..<pieces {
                _ = try await client.call(
                    .write, UInt64(piece) * 8192, 4096, payload: [UInt8](repeating: UInt8(piece + 1), count: 4096))
            }
            let reply = try await client.call(.read, 0, 262_144)
            #expect(reply.chunks.count == min(8, 2 * pieces))
            #expect(try reply.data(0, 262_144) == fixture.driver.state.withLock { Array($0.bytes[..<262_144]) })
            let inner = try await client.read(4096, 65536)
            #expect(inner == fixture.driver.state.withLock { Array($0.bytes[4096..<4096 + 65536]) })
        }
    }

    @Test(arguments: modes)
    func `flush, FUA and cache reach the node`(headers: NBDHeaderMode) async throws {
        try await NBDFixture.run { fixture in
            let client = try await NBDTestClient.open(fixture.path, headers: headers)
            _ = try await client.call(.write, 0, 512, payload: [UInt8](repeating: 1, count: 512))
            #expect(fixture.driver.count(.flush) == 0)
            #expect(try await client.call(.flush, 0, 0).error == 0)
            #expect(fixture.driver.count(.flush) == 1)
            _ = try await client.call(.write, 0, 512, flags: .fua, payload: [UInt8](repeating: 2, count: 512))
            #expect(fixture.driver.count(.flush) == 2)
            _ = try await client.call(.trim, 0, 8192, flags: .fua)
            #expect(fixture.driver.count(.flush) == 3)
            _ = try await client.call(.writeZeroes, 0, 8192, flags: .fua)
            #expect(fixture.driver.count(.flush) == 4)
            let reads = fixture.driver.count(.read)
            #expect(try await client.call(.cache, 0, 1 << 20).error == 0)
            #expect(fixture.driver.count(.read) > reads)
        }
    }

    @Test func `trim makes holes, and zeroes do unless told otherwise`() async throws {
        try await NBDFixture.run { fixture in
            let client = try await NBDTestClient.open(fixture.path, contexts: ["base:allocation"])
            func extents() async throws -> [NBDExtent]? {
                try await client.call(.blockStatus, 0, 16384).extents(0)
            }
            let data = [UInt8](repeating: 7, count: 16384)
            _ = try await client.call(.write, 0, 16384, payload: data)
            #expect(try await extents() == [NBDExtent(length: 16384, status: 0)])
            #expect(try await client.call(.trim, 4096, 4096).error == 0)
            let holed = [(4096, 0), (4096, 3), (8192, 0)].map { NBDExtent(length: $0.0, status: $0.1) }
            #expect(try await extents() == holed)
            _ = try await client.call(.write, 0, 16384, payload: data)
            #expect(try await client.call(.writeZeroes, 4096, 4096).error == 0)
            #expect(try await extents() == holed)
            #expect(try await client.call(.writeZeroes, 4096, 4096, flags: .noHole).error == 0)
            #expect(try await extents() == [NBDExtent(length: 16384, status: 0)])
            #expect(try await client.read(4096, 4096) == [UInt8](repeating: 0, count: 4096))
        }
    }

    @Test func `fast zero fails at once where zeroes have to be written`() async throws {
        for isFast in [true, false] {
            try await NBDFixture.run(isFastZero: isFast) { fixture in
                let client = try await NBDTestClient.open(fixture.path)
                let fast = try await client.call(.writeZeroes, 0, 65536, flags: .fastZero)
                #expect(fast.error == (isFast ? 0 : NBDError.notSupported.rawValue))
                #expect(fixture.driver.count(.write) == 0)
                #expect(try await client.call(.writeZeroes, 0, 65536).error == 0)
            }
        }
    }

    @Test(arguments: modes)
    func `errors of the node become errors of the protocol`(headers: NBDHeaderMode) async throws {
        try await NBDFixture.run { fixture in
            let client = try await NBDTestClient.open(fixture.path, headers: headers)
            let cases: [(Errno, NBDError)] = [
                (.EIO, .io), (.ENOSPC, .noSpace), (.EPERM, .permission), (.EACCES, .invalid), (.ENOMEM, .noMemory),
                (.EROFS, .permission), (.EBADF, .invalid),
            ]
            let commands: [(NBDCommand, MemoryDriver.Operation, String)] = [
                (.read, .read, "reading from file failed"), (.write, .write, "writing to file failed"),
                (.writeZeroes, .writeZeroes, "writing to file failed"), (.trim, .discard, "discard failed"),
                (.flush, .flush, "flush failed"), (.cache, .read, "caching data failed"),
            ]
            _ = try await client.call(.write, 0, 4096, payload: [UInt8](repeating: 1, count: 4096))
            for (command, operation, text) in commands {
                for (errno, error) in cases {
                    fixture.driver.fail(operation, with: errno)
                    let payload = command == .write ? [UInt8](repeating: 1, count: 4096) : []
                    let reply = try await client.call(command, 0, 4096, payload: payload)
                    #expect(reply.error == error.rawValue, "\(command) \(errno)")
                    #expect(reply.message == (headers == .simple ? "" : text))
                }
                fixture.driver.fail(operation, with: nil)
            }
            #expect(try await client.read(0, 1) == [1])
        }
    }

    @Test func `a long read of what cannot be read fails as the read does`() async throws {
        try await NBDFixture.run { fixture in
            let client = try await NBDTestClient.open(fixture.path)
            fixture.driver.fail(.read, with: .EACCES)
            fixture.driver.fail(.blockStatus, with: .EACCES)
            let reply = try await client.call(.read, 0, 1 << 20)
            #expect(reply.error == NBDError.invalid.rawValue)
            #expect(reply.message == "reading from file failed")
        }
    }

    @Test(arguments: modes)
    func `refused requests are answered, their payload skipped`(headers: NBDHeaderMode) async throws {
        try await NBDFixture.run(configure: { _, options in options.isWritable = false }) { fixture in
            let client = try await NBDTestClient.open(fixture.path, headers: headers)
            let payload = [UInt8](repeating: 1, count: 100_000)
            let cases: [(NBDCommand, UInt64, UInt64, NBDError)] = [
                (.write, 0, 100_000, .permission), (.trim, 0, 512, .permission),
                (.writeZeroes, 0, 512, .permission), (.read, 1 << 20, 1, .invalid), (.read, UInt64.max, 1, .invalid),
                (.blockStatus, 0, 512, .invalid), (.cache, 1 << 20, 1, .invalid),
            ]
            for (command, offset, length, error) in cases {
                let reply = try await client.call(
                    command, offset, length, payload: command == .write ? payload : [])
                #expect(reply.error == error.rawValue)
            }
            try await client.send(client.encoded(NBDRequest(type: 99, cookie: 5, offset: 0, length: 9)))
            let unknown = try await client.reply()
            #expect(unknown.error == NBDError.invalid.rawValue)
            #expect(unknown.cookie == 5)
            #expect(try await client.read(0, 1) == [0])
            #expect(fixture.driver.count(.write) == 0)
        }
    }

    @Test func `unaligned requests are refused once the block size was agreed on`() async throws {
        try await NBDFixture.run(alignment: 512) { fixture in
            let strict = try await NBDTestClient.open(fixture.path)
            #expect(try await strict.call(.read, 1, 512).error == NBDError.invalid.rawValue)
            #expect(try await strict.call(.read, 512, 512).error == 0)
            let loose = try await NBDTestClient.open(fixture.path, blockSize: false)
            let write = try await loose.call(.write, 1, 3, payload: [1, 2, 3])
            #expect(write.error == 0)
            #expect(try await loose.read(0, 5) == [0, 1, 2, 3, 0])
        }
    }

    @Test(arguments: modes)
    func `an oversized write is answered and ends the connection`(headers: NBDHeaderMode) async throws {
        try await NBDFixture.run { fixture in
            let client = try await NBDTestClient.open(fixture.path, headers: headers)
            try await client.post(.write, 0, UInt64(NBD.maximumPayload) + 1, payload: [1, 2, 3])
            #expect(try await client.reply().error == NBDError.invalid.rawValue)
            #expect(await client.isAtEnd())
        }
    }

    @Test func `the largest payload passes both ways`() async throws {
        let size = Int(NBD.maximumPayload)
        try await NBDFixture.run(size: size) { fixture in
            let client = try await NBDTestClient.open(fixture.path)
            var random = SeededGenerator(seed: 3)
            let piece = random.bytes(1 << 16)
            var bytes: [UInt8] = []
            for index in 0..<size >> 16 { bytes += [UInt8(truncatingIfNeeded: index)] + piece.dropFirst() }
            #expect(try await client.call(.write, 0, UInt64(size), payload: bytes).error == 0)
            let back = try await client.read(0, size)
            let isSame = back.withUnsafeBytes { back in
                bytes.withUnsafeBytes { IOBuffer($0).hasSameBytes(as: IOBuffer(back)) }
            }
            #expect(isSame)
        }
    }

    @Test func `write-through makes each write durable`() async throws {
        try await NBDFixture.run(configure: { _, options in
            options.isWritable = true
            options.isWriteThrough = true
        }) { fixture in
            let client = try await NBDTestClient.open(fixture.path)
            _ = try await client.call(.write, 0, 1, payload: [1])
            #expect(fixture.driver.count(.flush) == 1)
        }
    }
}
