import StorageTestSupport
import Testing

@testable import Compression

@Suite struct CompressorTests {
    /// Compresses into a buffer of `room` bytes.
    private func compress(_ bytes: [UInt8], with compressor: Compressor, room: Int) -> [UInt8]? {
        var output = [UInt8](repeating: 0xAA, count: room)
        let count = bytes.withUnsafeBytes { input in
            output.withUnsafeMutableBytes { compressor.compress(input, into: $0) }
        }
        return count.map { Array(output.prefix($0)) }
    }

    private func decompress(_ bytes: [UInt8], with compressor: Compressor, to count: Int) -> [UInt8]? {
        var output = [UInt8](repeating: 0xAA, count: count)
        let isComplete = bytes.withUnsafeBytes { input in
            output.withUnsafeMutableBytes { compressor.decompress(input, into: $0) }
        }
        return isComplete ? output : nil
    }

    /// Bytes that compress about as well as data on disks does.
    private func sample(_ count: Int, using generator: inout SeededGenerator) -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < count {
            switch generator.next() % 3 {
            case 0: bytes += generator.bytes(Int(generator.next() % 100))
            case 1: bytes += [UInt8](repeating: UInt8(truncatingIfNeeded: generator.next()), count: 40)
            default: bytes += bytes.suffix(Int(generator.next() % 5000))
            }
        }
        return Array(bytes.prefix(count))
    }

    @Test(arguments: CompressionKind.allCases)
    func `what is compressed comes back, also with other bytes behind it`(kind: CompressionKind) throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SeededGenerator(seed: seed)
        let compressor = Compressor(kind)
        for size in [1, 511, 512, 4097, 65536, 300_000] {
            for bytes in [[UInt8](repeating: 0, count: size), sample(size, using: &generator)] {
                let packed = try #require(compress(bytes, with: compressor, room: size + 1000), "seed \(seed)")
                #expect(decompress(packed, with: compressor, to: size) == bytes, "seed \(seed), size \(size)")
                let followed = packed + generator.bytes(511)
                #expect(decompress(followed, with: compressor, to: size) == bytes, "seed \(seed), size \(size)")
            }
        }
    }

    @Test(arguments: CompressionKind.allCases)
    func `data that does not get smaller does not fit`(kind: CompressionKind) {
        var generator = SeededGenerator(seed: 1)
        let compressor = Compressor(kind)
        let bytes = generator.bytes(65536)
        #expect(compress(bytes, with: compressor, room: 65535) == nil)
        #expect(compress(bytes, with: compressor, room: 0) == nil)
        // The state is as good as new.
        let zeroes = [UInt8](repeating: 0, count: 65536)
        let packed = compress(zeroes, with: compressor, room: 65535)
        #expect(packed.map { decompress($0, with: compressor, to: 65536) } == zeroes)
    }

    @Test(arguments: CompressionKind.allCases)
    func `the result takes just the room that it needs`(kind: CompressionKind) throws {
        var generator = SeededGenerator(seed: 2)
        let compressor = Compressor(kind)
        let bytes = sample(65536, using: &generator)
        let packed = try #require(compress(bytes, with: compressor, room: 1 << 17))
        #expect(compress(bytes, with: compressor, room: packed.count - 1) == nil)
    }

    @Test(arguments: CompressionKind.allCases)
    func `input that ends early or yields less is refused`(kind: CompressionKind) throws {
        var generator = SeededGenerator(seed: 3)
        let compressor = Compressor(kind)
        let bytes = sample(10000, using: &generator)
        let packed = try #require(compress(bytes, with: compressor, room: 20000))
        for count in 0..<packed.count - 8 {
            #expect(decompress(Array(packed.prefix(count)), with: compressor, to: 10000) == nil)
        }
        #expect(decompress(packed, with: compressor, to: 10001) == nil)
        #expect(decompress([], with: compressor, to: 0) == [])
    }

    @Test(arguments: CompressionKind.allCases)
    func `damaged input never traps nor writes beyond the output`(kind: CompressionKind) throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SeededGenerator(seed: seed)
        let compressor = Compressor(kind)
        let guardSize = 64
        for round in 0..<1000 {
            let size = 1 + Int(generator.next() % 5000)
            var packed = generator.bytes(size)
            if round % 4 != 0 {
                packed = compress(sample(size, using: &generator), with: compressor, room: size * 2 + 1000) ?? []
                for _ in 0...generator.next() % 4 where !packed.isEmpty {
                    packed[Int(generator.next() % UInt64(packed.count))] ^= 1 << UInt8(generator.next() % 8)
                }
            }
            var output = [UInt8](repeating: 0xAA, count: size + guardSize)
            output.withUnsafeMutableBytes { all in
                let room = UnsafeMutableRawBufferPointer(rebasing: all[..<size])
                _ = packed.withUnsafeBytes { compressor.decompress($0, into: room) }
            }
            #expect(output.suffix(guardSize).allSatisfy { $0 == 0xAA }, "seed \(seed), round \(round)")
        }
    }

    @Test func `a zstd frame that asks for a window of 1 GiB costs no memory`() {
        // Magic, no content size, window descriptor for 2^30, one last block of 4 raw bytes.
        let frame: [UInt8] = [0x28, 0xB5, 0x2F, 0xFD, 0x00, 20 << 3, 0x21, 0x00, 0x00, 1, 2, 3, 4]
        #expect(decompress(frame, with: Compressor(.zstd), to: 4) == [1, 2, 3, 4])
    }

    @Test(arguments: CompressionKind.allCases)
    func `many threads share one compressor`(kind: CompressionKind) async {
        let compressor = Compressor(kind)
        await withTaskGroup(of: Bool.self) { group in
            for seed in 0..<8 {
                group.addTask {
                    var generator = SeededGenerator(seed: UInt64(seed))
                    return (0..<20).allSatisfy { _ in
                        let bytes = self.sample(30000, using: &generator)
                        let packed = self.compress(bytes, with: compressor, room: 40000) ?? []
                        return self.decompress(packed, with: compressor, to: bytes.count) == bytes
                    }
                }
            }
            for await isRight in group { #expect(isRight) }
        }
    }
}
