import BlockDrivers
import BlockGraph
import IOCommands
import IOLoop
import StorageTestSupport
import Synchronization
import Testing

@Suite struct RandomCommandTests {
    /// Writes, discards and reads with random ranges and patterns against an array of bytes.
    @Test func `random commands keep to a model`() async throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        let difference = try await onLoop { () async throws(any Error) -> String? in
            let driver = TestDriver(1 << 16)
            let harness = try await Harness(driver)
            var generator = SeededGenerator(seed: seed)
            var model = [UInt8](repeating: 0, count: 1 << 16)
            for _ in 0..<2000 {
                let start = Int.random(in: 0..<model.count, using: &generator)
                let count = Int.random(in: 0...min(5000, model.count - start), using: &generator)
                let pattern = UInt8.random(in: 0...3, using: &generator)
                let range = start..<start + count
                let (command, expected) = Self.step(range, pattern, &model, &generator)
                let printed = await harness.text(command)
                guard printed == expected else { return "\(command): \(printed), not \(expected)" }
            }
            return driver.state.withLock { $0.bytes == model } ? nil : "other bytes"
        }
        #expect(difference == nil, "seed \(seed)")
    }

    private static func step(
        _ range: Range<Int>, _ pattern: UInt8, _ model: inout [UInt8], _ generator: inout SeededGenerator
    ) -> (command: String, expected: String) {
        let place = "\(range.lowerBound) \(range.count)"
        switch Int.random(in: 0..<6, using: &generator) {
        case 0:
            model.replaceSubrange(range, with: repeatElement(pattern, count: range.count))
            return ("write -q -P \(pattern) \(place)", "")
        case 1:
            model.replaceSubrange(range, with: repeatElement(pattern, count: range.count))
            return ("aio_write -qP\(pattern) \(place)", "")
        case 2:
            model.replaceSubrange(range, with: repeatElement(0, count: range.count))
            return ("write -zq \(place)", "")
        case 3:
            model.replaceSubrange(range, with: repeatElement(0xCD, count: range.count))
            return ("writev -q \(place) 0", "")
        default:
            let matches = model[range].allSatisfy { $0 == pattern }
            let complaint = "Pattern verification failed at offset \(range.lowerBound), \(range.count) bytes\n"
            return ("read -q \(place) -P \(pattern)", matches ? "" : complaint)
        }
    }

    @Test func `no line stops the monitor`() async throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        let backends = try await onLoop { () async throws(any Error) -> Int in
            let harness = try await Harness(try NullDriver(NullConfiguration(size: 65536)))
            var generator = SeededGenerator(seed: seed)
            for index in 0..<20_000 {
                let line = index % 4 == 0 ? Self.noise(&generator) : Self.words(&generator)
                let (_, reply) = index % 2 == 0 ? await harness.line(line) : await harness.io(line)
                guard reply.isEmpty || reply.hasSuffix("\n") || reply.contains("\r\n") else { return -1 }
            }
            return await harness.graph.backends.count
        }
        #expect(backends == 0, "seed \(seed)")
    }

    private static func noise(_ generator: inout SeededGenerator) -> String {
        let prefix = ["", "qemu-io n ", "qemu-io n \"", "qemu-io -", "help "].randomElement(using: &generator) ?? ""
        let count = Int.random(in: 0..<24, using: &generator)
        return prefix + String(decoding: generator.bytes(count), as: UTF8.self)
    }

    private static func words(_ generator: inout SeededGenerator) -> String {
        let words = [
            "read", "readv", "write", "writev", "aio_read", "aio_write", "aio_flush", "aio_discard", "discard", "alloc",
            "map", "length", "info", "truncate", "help", "break", "resume", "wait_break", "remove_break", "reopen",
            "zone_open", "zone_report", "flush", "-P", "-z", "-zun", "-q", "-C", "-v", "-s", "-l", "-m", "-b", "-f",
            "-i",
            "-c", "-r", "--", "-", "0", "1", "512", "4k", "64k", "65537", "7E", "8E", "-1", "0x10", "1.5k", ".", "x",
            "255",
            "256", "99999999999999999999", "9223372036854775807", "off", "full", "\\", "\"", "é", "\u{0}", "\n", "",
        ]
        let count = Int.random(in: 0..<7, using: &generator)
        return (0..<count).map { _ in words.randomElement(using: &generator) ?? "" }.joined(separator: " ")
    }
}
