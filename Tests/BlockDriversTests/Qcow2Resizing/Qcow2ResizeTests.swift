import BlockDrivers
import BlockGraph
import BlockTestSupport
import Glibc
import IOLoop
import StorageTestSupport
import Testing

@Suite struct Qcow2ResizeTests {
    private let directory = TemporaryDirectory()

    /// What kind of image is resized.
    struct Sample: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var hasDataFile = false
        var hasBacking = false
        let change: @Sendable (inout Qcow2CreationOptions) -> Void
    }

    static let samples: [Sample] = [
        Sample(testDescription: "plain") { $0.clusterSize = 4096 },
        Sample(testDescription: "512") { $0.clusterSize = 512 },
        Sample(testDescription: "v2") { ($0.clusterSize, $0.version) = (4096, 2) },
        Sample(testDescription: "extended L2") { ($0.clusterSize, $0.extendedL2) = (16384, true) },
        Sample(testDescription: "lazy") { ($0.clusterSize, $0.lazyRefcounts) = (4096, true) },
        Sample(testDescription: "narrow refcounts") { ($0.clusterSize, $0.refcountBits) = (512, 1) },
        Sample(testDescription: "backing", hasBacking: true) { $0.clusterSize = 4096 },
        Sample(testDescription: "backing, extended L2", hasBacking: true) {
            ($0.clusterSize, $0.extendedL2) = (16384, true)
        },
        Sample(testDescription: "data file", hasDataFile: true) { $0.clusterSize = 4096 },
        Sample(testDescription: "raw data file", hasDataFile: true) { ($0.clusterSize, $0.dataFileRaw) = (4096, true) },
    ]

    private func write(_ bytes: [UInt8], to name: String) {
        guard let file = fopen(directory.file(name), "w") else { return }
        fwrite(bytes, 1, bytes.count, file)
        fclose(file)
    }

    /// Opens an image with what belongs to it, and calls the body with it.
    private func withImage<R: Sendable>(
        _ sample: Sample, create options: Qcow2CreationOptions? = nil,
        _ body: @escaping @Sendable @GraphActor (BlockNode, BlockBackend) async throws -> R
    ) async throws -> R {
        let directory = directory
        return try await GraphFixture.run { fixture in
            let graph = fixture.graph
            let file = try await graph.openFile(directory.file("image"), isOwnedByMonitor: true)
            var (data, backing): (BlockNode?, BlockNode?)
            if sample.hasDataFile {
                data = try await graph.openFile(directory.file("data"), isOwnedByMonitor: true)
            }
            if sample.hasBacking {
                backing = try await graph.openFile(
                    directory.file("backing"), options: .with { $0.isReadOnly = true }, isOwnedByMonitor: true)
            }
            if let options { try await Qcow2Creator.create(options, file: file, dataFile: data) }
            let (dataNode, backingNode) = (data, backing)
            let node = try await graph.open(name: "image", options: NodeOptions(), isOwnedByMonitor: true) {
                (node) async throws(BlockError) in
                let header = try await Qcow2Driver.header(of: file)
                return Qcow2Driver.open(
                    Qcow2Configuration(), in: node, header: header, file: file, dataFile: dataNode,
                    backing: backingNode)
            }
            let backend = try graph.attach(
                "test", to: node,
                permissions: PermissionPair(used: [.consistentRead, .write, .resize], shared: .all))
            // On the main loop in all that it calls, as in the daemon.
            let task = GraphActor.spawn { () async -> Result<R, any Error> in
                do {
                    return .success(try await body(node, backend))
                } catch {
                    return .failure(error)
                }
            }
            return try await task.value.get()
        }
    }

    @GraphActor
    private func resize(_ node: BlockNode, to length: Int64, _ mode: Preallocation) async throws(BlockError) {
        try await node.graph.drained([node]) { () async throws(BlockError) in
            try await node.resize(to: length, exact: false, preallocation: mode)
        }
    }

    @Test(arguments: samples)
    func `bytes stay, new ones are zeroes, and the image stays sound`(sample: Sample) async throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SeededGenerator(seed: seed)
        let backingBytes = generator.bytes(3 << 19)
        write(backingBytes, to: "backing")
        write([], to: "image")
        write([], to: "data")
        var options = Qcow2CreationOptions(size: 1 << 20)
        sample.change(&options)
        if sample.hasDataFile { options.dataFileName = directory.file("data") }
        if sample.hasBacking { (options.backingFile, options.backingFormat) = (directory.file("backing"), "raw") }
        var disk = sample.hasBacking ? Array(backingBytes.prefix(1 << 20)) : [UInt8](repeating: 0, count: 1 << 20)
        for session in 0..<4 {
            let (start, random) = (disk, generator)
            let creation = session == 0 ? options : nil
            (disk, generator) = try await withImage(sample, create: creation) { node, backend in
                var (disk, generator) = (start, random)
                for round in 0..<12 {
                    for _ in 0..<4 where !disk.isEmpty {
                        let count = min(disk.count, Int(generator.next() % 20000) + 1)
                        let offset = Int(generator.next() % UInt64(disk.count - count + 1))
                        let bytes = generator.bytes(count)
                        try await backend.writeBytes(bytes, at: Int64(offset))
                        disk.replaceSubrange(offset..<offset + count, with: bytes)
                    }
                    let length = Int64(generator.next() % 4096) * 512
                    let modes: [Preallocation] = [.off, .off, .metadata, .falloc, .full]
                    let mode = length > disk.count ? modes[Int(generator.next() % 5)] : .off
                    do throws(BlockError) {
                        try await self.resize(node, to: length, mode)
                    } catch {
                        // Version 2 cannot hide what the backing file has; there is none here.
                        Issue.record("seed \(seed), session \(session), round \(round): \(error)")
                        throw error
                    }
                    if length < disk.count {
                        disk.removeLast(disk.count - Int(length))
                    } else {
                        disk += [UInt8](repeating: 0, count: Int(length) - disk.count)
                    }
                    let isSame = try await backend.readBytes(0..<Int64(disk.count)) == disk
                    try #require(isSame, "seed \(seed), session \(session), round \(round), \(mode)")
                }
                return (disk, generator)
            }
            write(disk, to: "expected")
            for program in installedPrograms("qemu-img") {
                let check = run(
                    [program, "check", "-f", "qcow2", directory.file("image")], output: directory.file("log"))
                #expect(check.status == 0, "seed \(seed): \(check.output)")
                let comparison = run(
                    [program, "compare", "-F", "raw", directory.file("image"), directory.file("expected")],
                    output: directory.file("log"))
                #expect(comparison.status == 0, "seed \(seed): \(comparison.output)")
            }
        }
    }

    @Test func `what cannot be done is refused in QEMU's words`() async throws {
        write([], to: "image")
        let sample = Sample(testDescription: "") { _ in }
        try await withImage(sample, create: Qcow2CreationOptions(size: 1 << 20)) { node, _ in
            let refusals: [(Int64, Preallocation, String)] = [
                (1000, .off, "The new size must be a multiple of 512"),
                (512, .metadata, "Preallocation can only be used for growing images"),
                (1 << 52, .off, "Failed to grow the L1 table: File too large"),
            ]
            for (length, mode, text) in refusals {
                let error = await blockError { () async throws(BlockError) in
                    try await self.resize(node, to: length, mode)
                }
                #expect(error == text)
                #expect(node.length == 1 << 20)
            }
        }
    }

    @Test func `a file shrinks with its disk`() async throws {
        write([], to: "image")
        let sample = Sample(testDescription: "") { _ in }
        try await withImage(sample, create: Qcow2CreationOptions(size: 10 << 20)) { node, backend in
            // The table comes first, so that it does not lie at the end of the file.
            try await backend.writeBytes([1], at: 0)
            try await backend.writeBytes([UInt8](repeating: 1, count: 10 << 20), at: 0)
            try await self.resize(node, to: 3 << 20, .off)
        }
        #expect(contents(directory.file("image")).count <= 3_473_408)
    }

    @Test func `preallocation takes the space of what is new`() async throws {
        let sample = Sample(testDescription: "") { _ in }
        for (mode, isFull) in [(Preallocation.metadata, false), (.falloc, true), (.full, true)] {
            write([], to: "image")
            try await withImage(sample, create: Qcow2CreationOptions(size: 1 << 20)) { node, _ in
                try await self.resize(node, to: 9 << 20, mode)
                let status = try await node.blockStatus(5 << 20..<6 << 20, precision: .allocation)
                #expect(status.isAllocated && status.hostOffset != nil)
            }
            #expect((allocatedBytes(directory.file("image")) >= 8 << 20) == isFull)
            #expect(contents(directory.file("image")).count >= 8 << 20)
        }
    }
}
