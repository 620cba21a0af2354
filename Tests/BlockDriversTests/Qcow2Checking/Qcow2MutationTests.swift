import BlockDrivers
import BlockGraph
import BlockTestSupport
import Glibc
import IOLoop
import Qcow2Format
import StorageTestSupport
import Testing

/// Broken images are opened, read, walked, written, checked, and repaired: they may fail, but never trap or hang.
///
/// `CAIRN_MUTATIONS` is the number of images, `CAIRN_MUTATION_SEED` the first seed. One seed makes one image.
@Suite struct Qcow2MutationTests {
    private static func number(_ name: String, _ usual: Int) -> Int {
        getenv(name).flatMap { Int(String(cString: $0)) } ?? usual
    }

    @Test func `broken images do no harm`() async throws {
        let images = Qcow2Fixtures.small
        let mutators = images.compactMap { Qcow2Mutator($0.bytes) }
        try #require(mutators.count == images.count && !images.isEmpty)
        let first = Self.number("CAIRN_MUTATION_SEED", 0)
        let count = Self.number("CAIRN_MUTATIONS", 200)
        let shown = getenv("CAIRN_MUTATIONS") != nil
        // Tasks of the control plane prefer the main loop.
        startMainLoop()
        try await on(IOLoop.main) { () async throws(any Error) in
            try await GraphFixture.run { fixture in
                try await Self.campaign(images, mutators, seeds: first..<first + count, shown: shown, fixture)
            }
        }
    }

    /// Seeds whose images once made a request wait forever, or the process end.
    @Test(arguments: [118, 3232, 30149, 12371, 24971, 62941]) func `images that did harm do none any more`(seed: Int)
        async throws
    {
        let images = Qcow2Fixtures.small
        let mutators = images.compactMap { Qcow2Mutator($0.bytes) }
        try #require(mutators.count == images.count && !images.isEmpty)
        startMainLoop()
        try await on(IOLoop.main) { () async throws(any Error) in
            try await GraphFixture.run { fixture in
                try await Self.campaign(images, mutators, seeds: seed..<seed + 1, shown: false, fixture)
            }
        }
    }

    @GraphActor private static func campaign(
        _ images: [Qcow2Fixtures.Image], _ mutators: [Qcow2Mutator], seeds: Range<Int>, shown: Bool,
        _ fixture: GraphFixture
    ) async throws {
        var opened = 0
        for seed in seeds {
            var random = SeededGenerator(seed: UInt64(seed))
            let index = Int.random(in: 0..<images.count, using: &random)
            let (bytes, changes) = mutators[index].mutated(&random)
            if shown {
                print("seed \(seed) \(images[index]) \(changes)")
                fflush(nil)
            }
            let before = ContinuousClock.now
            if try await use(bytes, of: images[index], fixture, &random) { opened += 1 }
            let time = ContinuousClock.now - before
            #expect(time < .seconds(120), "seed \(seed) \(images[index]): \(changes)")
        }
        print("\(seeds.count) broken images, \(opened) could be opened")
    }

    /// Does with an image what users do. Returns whether it could be opened.
    @GraphActor private static func use(
        _ bytes: [UInt8], of image: Qcow2Fixtures.Image, _ fixture: GraphFixture, _ random: inout SeededGenerator
    ) async throws -> Bool {
        let graph = fixture.graph
        let disk = disk(bytes)
        let file = try await graph.openMemory(nil, disk, isOwnedByMonitor: true)
        var others: [BlockNode] = []
        let repair = [.none, .leaks, .all].randomElement(using: &random) ?? Qcow2Repair.none
        let checksFirst = Bool.random(using: &random)
        if checksFirst { _ = try? await Qcow2Checker.check(file, repair: repair) }
        var isOpen = false
        do throws(BlockError) {
            let node = try await open(image, file: file, isWritable: Bool.random(using: &random), fixture, &others)
            isOpen = true
            await exercise(node, &random)
            try await graph.delete(node)
        } catch {
            // The image was refused, which is what should happen to most.
        }
        if !checksFirst { _ = try? await Qcow2Checker.check(file, repair: repair) }
        #expect(disk.length <= 64 << 20, "the file grew to \(disk.length) bytes")
        for node in others + [file] { try? await graph.delete(node) }
        return isOpen
    }

    /// A disk that cannot grow without end.
    private static func disk(_ bytes: [UInt8]) -> MemoryDriver {
        var abilities = MemoryDriver.Abilities()
        abilities.grows = true
        let disk = MemoryDriver(bytes, abilities: abilities)
        // Broken tables lead requests to places far behind the end, where a file would get a hole, and memory runs out.
        for operation in [.write, .writeZeroes, .discard] as [MemoryDriver.Operation] {
            disk.fail(operation, with: .EFBIG, in: 64 << 20..<Int64.max)
        }
        return disk
    }

    @GraphActor private static func open(
        _ image: Qcow2Fixtures.Image, file: BlockNode, isWritable: Bool, _ fixture: GraphFixture,
        _ others: inout [BlockNode]
    ) async throws(BlockError) -> BlockNode {
        let graph = fixture.graph
        let header = try await Qcow2Driver.header(of: file)
        var dataFile: BlockNode?
        if header.hasDataFile {
            let node = try await graph.openMemory(nil, disk(pattern(256 << 10, 0x11)), isOwnedByMonitor: true)
            dataFile = node
            others.append(node)
        }
        var backing: BlockNode?
        if header.backingFile != nil {
            let node = try await graph.openMemory(
                nil, MemoryDriver(pattern(256 << 10, 0x22)), isOwnedByMonitor: true)
            backing = node
            others.append(node)
        }
        var options = NodeOptions()
        options.isReadOnly = !isWritable
        let (data, base) = (dataFile, backing)
        return try await graph.open(name: nil, options: options, isOwnedByMonitor: true) { node in
            Qcow2Driver.open(
                Qcow2Configuration(), in: node, header: header, file: file, dataFile: data, backing: base)
        }
    }

    /// Reads all, asks what is where, and changes a few places.
    private static func exercise(_ node: BlockNode, _ random: inout SeededGenerator) async {
        // Of a disk that a broken header made huge, the first and the last part are enough.
        let length = node.length
        let parts: [ByteRange] =
            length <= 4 << 20 ? [0..<length] : [0..<(2 << 20), (length - (2 << 20))..<length]
        for part in parts {
            await readAll(node, part)
            await walk(node, part)
        }
        guard !node.isReadOnly, length > 0 else { return }
        for _ in 0..<6 {
            let start = Int64.random(in: 0..<min(length, 256 << 10), using: &random)
            let count = min(Int64.random(in: 1...70_000, using: &random), length - start)
            do throws(Errno) {
                switch Int.random(in: 0..<4, using: &random) {
                case 0: try await node.writeZeroes(start..<start + count, flags: .mayUnmap)
                case 1: try await node.discard(start..<start + count)
                default: try await node.write(pattern(Int(count), 0x33), at: start)
                }
            } catch {
                // A broken table makes requests fail.
            }
        }
        try? await node.flush()
        for part in parts { await readAll(node, part) }
    }

    private static func readAll(_ node: BlockNode, _ range: ByteRange) async {
        for piece in range.pieces(ofAtMost: 128 << 10) { _ = try? await node.bytes(piece) }
    }

    private static func walk(_ node: BlockNode, _ range: ByteRange) async {
        var offset = range.lowerBound
        while offset < range.upperBound {
            guard let status = try? await node.blockStatus(offset..<range.upperBound) else {
                return
            }
            #expect(status.length > 0)
            if status.length <= 0 { return }
            offset += status.length
        }
    }
}
