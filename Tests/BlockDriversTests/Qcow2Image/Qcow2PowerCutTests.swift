import BlockDrivers
import BlockGraph
import BlockTestSupport
import Glibc
import IOLoop
import StorageTestSupport
import Testing

/// What is left of an image when the power is cut in the middle of a load: a valid image with all that was flushed.
///
/// `CAIRN_POWER_CUTS` sets the number of moments that each case looks at.
@Suite struct Qcow2PowerCutTests {
    /// What the image of a case is like, and what is done to it.
    struct Case: Sendable, CustomTestStringConvertible {
        var name: String
        var clusterSize: Int64 = 4096
        var options: @Sendable (inout Qcow2CreationOptions) -> Void = { _ in }
        var configuration = Qcow2Configuration()
        var hasBacking = false
        var compresses = false
        /// Whether what is left may have to be repaired.
        var isRepaired = false
        var testDescription: String { name }
    }

    static let cases: [Case] = {
        var tinyCache = Qcow2Configuration()
        tinyCache.l2CacheSize = 2048
        tinyCache.refcountCacheSize = 2048
        tinyCache.l2CacheEntrySize = 512
        var noUnref = Qcow2Configuration()
        noUnref.discardNoUnref = true
        return [
            Case(name: "64 KiB clusters", clusterSize: 65536),
            Case(name: "4 KiB clusters, backing file", hasBacking: true),
            Case(name: "512 byte clusters, small caches", clusterSize: 512, configuration: tinyCache),
            Case(name: "subclusters", clusterSize: 16384, options: { $0.extendedL2 = true }, hasBacking: true),
            Case(name: "lazy refcounts", options: { $0.lazyRefcounts = true }, isRepaired: true),
            Case(name: "version 2", options: { $0.version = 2 }, hasBacking: true),
            Case(name: "1 bit refcounts, compressed writes", options: { $0.refcountBits = 1 }, compresses: true),
            Case(name: "compressed writes over a backing file", hasBacking: true, compresses: true),
            Case(name: "discards keep their clusters", configuration: noUnref),
        ]
    }()

    static let diskSectors = 1024
    static let cutCount = getenv("CAIRN_POWER_CUTS").flatMap { Int(String(cString: $0)) } ?? 25

    @Test(arguments: cases) func `every cut leaves a valid image with all that was flushed`(_ item: Case) async throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        try await withLoops(1) { loops in
            let task = Task(executorPreference: loops[0]) { try await Self.run(item, seed: seed) }
            let problems = try await task.value
            #expect(problems.isEmpty, "seed \(seed): \(problems.prefix(5))")
        }
    }

    /// Loads an image, cuts the power at many moments, and tells what was wrong afterwards.
    static func run(_ item: Case, seed: UInt64) async throws -> [String] {
        var generator = SeededGenerator(seed: seed)
        let backing = item.hasBacking ? SectorHistory.bytes(stamp: 1, sectors: 0..<diskSectors / 2) : nil
        let empty = try await emptyImage(item, backing: backing)
        let disk = PowerCutDriver(empty)
        let stamps = (0..<diskSectors).map { UInt32(item.hasBacking && $0 < diskSectors / 2 ? 1 : 0) }
        let history = SectorHistory(stamps: stamps)
        let image = try await OpenImage(disk, backing: backing, configuration: item.configuration)
        let start = disk.mark()
        try await load(image.backend, disk, history, item, seed: generator.next())
        let end = disk.mark()
        await image.close()
        var problems: [String] = []
        for _ in 0..<cutCount where problems.count < 5 {
            let moment = Int.random(in: start...end, using: &generator)
            let left = disk.bytes(afterCutAt: moment, using: &generator)
            problems += try await inspect(left, item, backing: backing) { content in
                history.violations(in: content, afterCutAt: moment)
            }.map { "cut at \(moment) of \(start)...\(end): \($0)" }
        }
        // What a clean end leaves has all writes, and no leak.
        problems += try await inspect(disk.bytes, item, backing: backing, mayLeak: false) { content in
            history.violations(in: content, afterCutAt: .max)
        }.map { "after a clean end: \($0)" }
        return problems
    }

    /// The bytes of an image without data.
    private static func emptyImage(_ item: Case, backing: [UInt8]?) async throws -> [UInt8] {
        var options = Qcow2CreationOptions(size: Int64(diskSectors * SectorHistory.sectorSize))
        options.clusterSize = item.clusterSize
        if backing != nil {
            options.backingFile = "backing"
            options.backingFormat = "raw"
        }
        item.options(&options)
        var abilities = MemoryDriver.Abilities()
        abilities.grows = true
        let memory = MemoryDriver([], abilities: abilities)
        let graph = BlockGraph()
        let file = try await graph.openMemory("file", memory, isOwnedByMonitor: true)
        try await Qcow2Creator.create(options, file: file)
        await graph.closeAll()
        return memory.bytes
    }

    /// Several guests write, zero, discard, and flush.
    private static func load(
        _ backend: BlockBackend, _ disk: PowerCutDriver, _ history: SectorHistory, _ item: Case, seed: UInt64
    ) async throws {
        let loop = IOLoop.required
        let guests = (0..<4).map { number in
            Task(executorPreference: loop) {
                var generator = SeededGenerator(seed: seed &+ UInt64(number))
                for _ in 0..<60 {
                    try await act(backend, disk, history, item, &generator)
                }
            }
        }
        // All of them end before an error of one is told.
        var results: [Result<Void, any Error>] = []
        for guest in guests { results.append(await guest.result) }
        for result in results { try result.get() }
    }

    /// Does one thing at random, and notes it.
    private static func act(
        _ backend: BlockBackend, _ disk: PowerCutDriver, _ history: SectorHistory, _ item: Case,
        _ generator: inout SeededGenerator
    ) async throws {
        let kind = Int.random(in: 0..<100, using: &generator)
        if kind < 15 {
            let begin = disk.mark()
            try await backend.flush()
            return history.flushed(from: begin, to: disk.mark())
        }
        let isCompressed = item.compresses && kind < 35
        let sectors = range(isCompressed ? Int(item.clusterSize) / SectorHistory.sectorSize : nil, &generator)
        let bytes =
            Int64(
                sectors.lowerBound * SectorHistory.sectorSize)..<Int64(
                sectors.upperBound * SectorHistory.sectorSize)
        let begin = disk.mark()
        let stamp = kind < 80 ? history.newStamp() : 0
        history.begin(sectors, stamp: stamp, at: begin, isDiscard: kind >= 90)
        switch kind {
        case ..<80:
            let content = SectorHistory.bytes(stamp: stamp, sectors: sectors)
            let error = await failure { () throws(Errno) in
                try await backend.write(content, at: bytes.lowerBound, flags: isCompressed ? .compressed : [])
            }
            // Where something is already, compressed data cannot overwrite it.
            if isCompressed, error == .EIO { return }
            if let error { throw error }
        case ..<90: try await backend.writeZeroes(bytes, flags: kind < 85 ? .mayUnmap : [])
        default: try await backend.discard(bytes)
        }
        history.end(sectors, begunAt: begin, at: disk.mark())
    }

    /// Some sectors: a whole number of units where one is given, else often few and sometimes many.
    private static func range(_ unit: Int?, _ generator: inout SeededGenerator) -> Range<Int> {
        if let unit {
            let start = Int.random(in: 0..<diskSectors / unit, using: &generator) * unit
            return start..<start + unit
        }
        let start = Int.random(in: 0..<diskSectors, using: &generator)
        let count = Int.random(in: 1...(Bool.random(using: &generator) ? 8 : 200), using: &generator)
        return start..<min(diskSectors, start + count)
    }

    /// What is wrong with an image: it does not open, it is not consistent, or `check` says something of its content.
    private static func inspect(
        _ bytes: [UInt8], _ item: Case, backing: [UInt8]?, mayLeak: Bool = true, check: ([UInt8]) -> [String]
    ) async throws -> [String] {
        // An image whose refcounts are written late is repaired when it is opened for writing.
        var problems = item.isRepaired ? [] : try qemuCheck(bytes, backing: backing, mayLeak: mayLeak)
        let image = try await OpenImage(PowerCutDriver(bytes), backing: backing, configuration: item.configuration)
        let content = try await image.backend.bytes(0..<Int64(diskSectors * SectorHistory.sectorSize))
        problems += check(content)
        await image.close()
        return problems
    }

    /// What qemu-img finds wrong with an image that is not repaired.
    private static func qemuCheck(_ bytes: [UInt8], backing: [UInt8]?, mayLeak: Bool) throws -> [String] {
        let directory = TemporaryDirectory()
        let path = directory.file("image")
        try write(bytes, to: path)
        if let backing { try write(backing, to: directory.file("backing")) }
        let (status, output) = BlockTestSupport.run(
            ["qemu-img", "check", "-f", "qcow2", path], output: directory.file("output"))
        // 3: leaked clusters and nothing worse.
        return status == 0 || mayLeak && status == 3 ? [] : ["qemu-img check: \(status) \(output)"]
    }

    private static func write(_ bytes: [UInt8], to path: String) throws(Errno) {
        guard let file = fopen(path, "w") else { throw .EIO }
        defer { fclose(file) }
        let count = bytes.withUnsafeBytes { fwrite($0.baseAddress, 1, $0.count, file) }
        guard count == bytes.count else { throw .ENOSPC }
    }
}

/// An open image with its graph.
private struct OpenImage {
    let graph = BlockGraph()
    let backend: BlockBackend

    @GraphActor
    init(_ disk: PowerCutDriver, backing: [UInt8]?, configuration: Qcow2Configuration) async throws {
        let graph = graph
        let file = try await graph.open(name: "file", options: NodeOptions()) { _ in disk }
        var below: BlockNode?
        if let backing { below = try await graph.openMemory("backing", MemoryDriver(backing)) }
        var options = NodeOptions()
        options.discard = .unmap
        let node = try await graph.open(name: "image", options: options) {
            @GraphActor (node) async throws(BlockError) in
            let header = try await Qcow2Driver.header(of: file)
            return Qcow2Driver.open(
                configuration, in: node, header: header, file: file, dataFile: nil, backing: below)
        }
        backend = try graph.attachWriter(node)
    }

    @GraphActor
    func close() async {
        await graph.detach(backend)
        await graph.closeAll()
    }
}
