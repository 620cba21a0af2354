import BlockGraph
import BlockTestSupport
import IOLoop
import StorageTestSupport
import Testing

/// Random requests to a node against an array of bytes.
@Suite struct NodeModelTests {
    /// What a round of the model varies.
    struct Setup: Sendable, CustomTestStringConvertible {
        var alignment: Int64
        var length: Int
        var zeroes = true
        var maximum: Int64 = 1 << 30
        var memoryAlignment = 1
        var grows = false
        var discardAlignment: Int64 = 1
        var detectZeroes = NodeOptions.DetectZeroes.off
        var discard = NodeOptions.Discard.unmap

        var testDescription: String {
            "alignment \(alignment), length \(length), zeroes \(zeroes), maximum \(maximum), grows \(grows), \(detectZeroes)"
        }

        var abilities: MemoryDriver.Abilities {
            var abilities = MemoryDriver.Abilities()
            abilities.limits.requestAlignment = alignment
            abilities.limits.memoryAlignment = memoryAlignment
            abilities.limits.maximumTransfer = maximum
            abilities.limits.maximumWriteZeroes = maximum
            abilities.limits.maximumDiscard = max(maximum, discardAlignment)
            abilities.limits.writeZeroesAlignment = max(alignment, 512)
            abilities.limits.discardAlignment = max(alignment, discardAlignment)
            abilities.zeroes = zeroes
            abilities.grows = grows
            abilities.yields = true
            return abilities
        }

        var options: NodeOptions {
            var options = NodeOptions()
            options.discard = discard
            options.detectZeroes = detectZeroes
            return options
        }
    }

    static let setups: [Setup] = [
        Setup(alignment: 1, length: 20_000),
        Setup(alignment: 1, length: 20_001, grows: true),
        Setup(alignment: 1, length: 20_480, zeroes: false, maximum: 1000),
        Setup(alignment: 512, length: 20_480),
        Setup(alignment: 512, length: 20_480, zeroes: false, maximum: 1024, memoryAlignment: 512),
        Setup(alignment: 512, length: 20_000, memoryAlignment: 4096, detectZeroes: .on),
        Setup(alignment: 512, length: 20_480, grows: true, detectZeroes: .unmap),
        Setup(alignment: 4096, length: 65_536),
        Setup(alignment: 4096, length: 65_536, maximum: 8192, memoryAlignment: 512, discardAlignment: 16_384),
        Setup(alignment: 4096, length: 61_000, zeroes: false),
        Setup(alignment: 4096, length: 61_440, zeroes: false, grows: true, detectZeroes: .unmap, discard: .ignore),
    ]

    @Test(arguments: setups, 1...3)
    func `random requests do what an array of bytes does`(_ setup: Setup, _ seed: Int) async throws {
        try await onLoop { () async throws(any Error) in try await Self.run(setup, seed) }
    }

    private static func run(_ setup: Setup, _ seed: Int) async throws {
        var model = Model(setup: setup, seed: UInt64(seed))
        let driver = MemoryDriver(model.bytes, abilities: setup.abilities)
        let graph = BlockGraph()
        let node = try await graph.openMemory("disk", driver, options: setup.options)
        for step in 0..<250 {
            try await model.step(on: node)
            let problems = model.problems + driver.violations
            guard problems.isEmpty else {
                Issue.record("seed \(seed), step \(step): \(problems)")
                return
            }
        }
        let bytes = driver.bytes
        #expect(bytes == model.bytes)
    }

    /// The bytes that the disk must have, and the requests.
    struct Model {
        let setup: Setup
        var bytes: [UInt8]
        var random: StorageTestSupport.SeededGenerator
        var problems: [String] = []

        init(setup: Setup, seed: UInt64) {
            self.setup = setup
            random = StorageTestSupport.SeededGenerator(seed: seed)
            bytes = random.bytes(setup.length)
        }

        mutating func someRange(beyondEnd: Bool = false) -> ByteRange {
            let end = Int64(bytes.count) + (beyondEnd ? 5000 : 0)
            let start = Int64.random(in: 0...(end - 1), using: &random)
            let lengths: [Int64] = [0, 1, 2, 511, 512, 513, 4095, 4096, 4097, 9000]
            let length = lengths.randomElement(using: &random) ?? 1
            var range = start..<min(end, start + length)
            if Bool.random(using: &random) {
                range = range.aligned(outwardTo: setup.alignment)
                range = min(range.lowerBound, end)..<min(range.upperBound, end)
            }
            return range
        }

        mutating func put(_ new: [UInt8], at offset: Int64) {
            let end = Int(offset) + new.count
            // Whole blocks are written, so that whole blocks are gained.
            let gained = Int(Int64(end).alignedUp(to: setup.alignment))
            if end > bytes.count { bytes += Array(repeating: 0, count: gained - bytes.count) }
            bytes.replaceSubrange(Int(offset)..<end, with: new)
        }

        mutating func step(on node: BlockNode) async throws {
            let misalignment = [0, 0, 1, 512].randomElement(using: &random) ?? 0
            switch Int.random(in: 0..<10, using: &random) {
            case 0...2: try await read(node, misalignment)
            case 3...5: try await write(node, misalignment)
            case 6...7:
                let range = someRange(beyondEnd: setup.grows)
                let flags: [WriteFlags] = [[], .mayUnmap, .forceUnitAccess, .noFallback]
                try await zero(node, range, flags.randomElement(using: &random) ?? [])
            case 8:
                let range = someRange()
                try await node.discard(range)
                if setup.discard == .unmap {
                    let inner = range.aligned(inwardTo: setup.abilities.limits.discardAlignment)
                    if !inner.isEmpty { put(Array(repeating: 0, count: Int(inner.length)), at: inner.lowerBound) }
                }
            default: try await status(node)
            }
        }

        mutating func read(_ node: BlockNode, _ misalignment: Int) async throws {
            let range = someRange(beyondEnd: true)
            let padded = bytes + Array(repeating: 0, count: 20_000)
            let expected = Array(padded[Int(range.lowerBound)..<Int(range.upperBound)])
            if try await node.bytes(range, misalignment: misalignment) != expected { problems.append("read \(range)") }
        }

        mutating func write(_ node: BlockNode, _ misalignment: Int) async throws {
            let range = someRange(beyondEnd: setup.grows)
            var new = [UInt8](repeating: 0, count: Int(range.length))
            if Int.random(in: 0..<4, using: &random) > 0 { new = random.bytes(new.count) }
            try await node.write(new, at: range.lowerBound, misalignment: misalignment)
            if !range.isEmpty { put(new, at: range.lowerBound) }
        }

        mutating func zero(_ node: BlockNode, _ range: ByteRange, _ flags: WriteFlags) async throws {
            if let error = await failure({ () async throws(Errno) in try await node.writeZeroes(range, flags: flags) })
            {
                let inner = range.aligned(inwardTo: setup.alignment)
                if error != .ENOTSUP || !flags.contains(.noFallback) || setup.zeroes && !inner.isEmpty {
                    problems.append("zeroes \(range): \(error)")
                }
                return
            }
            if !range.isEmpty { put(Array(repeating: 0, count: Int(range.length)), at: range.lowerBound) }
        }

        mutating func status(_ node: BlockNode) async throws {
            let range = someRange(beyondEnd: true)
            let status = try await node.blockStatus(range)
            let end = Int64(bytes.count)
            if range.isEmpty || range.lowerBound >= end {
                if status.length != 0 { problems.append("status \(range): length \(status.length)") }
                return
            }
            guard status.length > 0, status.length <= range.length, range.lowerBound + status.length <= end else {
                return problems.append("status \(range): length \(status.length)")
            }
            if status.isEndOfFile != (range.lowerBound + status.length == end) {
                problems.append("status \(range): end \(status.isEndOfFile)")
            }
            let run = bytes[Int(range.lowerBound)..<Int(range.lowerBound + status.length)]
            if status.isZero, !run.allSatisfy({ $0 == 0 }) { problems.append("status \(range): not zero") }
            if let offset = status.hostOffset, offset != range.lowerBound { problems.append("status \(range): offset") }
        }
    }
}
