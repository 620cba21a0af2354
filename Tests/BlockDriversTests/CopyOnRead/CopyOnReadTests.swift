import BlockGraph
import BlockTestSupport
import IOLoop
import StorageTestSupport
import Testing

@testable import BlockDrivers

@Suite struct CopyOnReadTests {
    /// What a guest does to its own part of the disk, while others do the same to theirs.
    private struct Guest: Sendable {
        let backend: BlockBackend
        /// Every guest has some bytes of each block, so that all of them use the same clusters.
        let number: Int
        let count: Int
        let block = 8192
        let model: Locked<[UInt8]>
        let problems: Locked<[String]>

        func run(_ random: SeededGenerator, operations: Int) async {
            var random = random
            let size = model.value.count
            let stripe = block / count
            for _ in 0..<operations {
                let start = Int.random(in: 0...(size / block), using: &random) * block + number * stripe
                let length = min(Int.random(in: 1...stripe, using: &random), size - start)
                guard length > 0 else { continue }
                let range = Int64(start)..<Int64(start + length)
                do throws(Errno) {
                    switch Int.random(in: 0..<8, using: &random) {
                    case 0, 1:
                        let bytes = random.bytes(length)
                        try await backend.write(bytes, at: Int64(start))
                        model.withLock { $0.replaceSubrange(start..<start + length, with: bytes) }
                    case 2:
                        try await backend.writeZeroes(range, flags: .mayUnmap)
                        model.withLock {
                            $0.replaceSubrange(start..<start + length, with: repeatElement(0, count: length))
                        }
                    default:
                        let bytes = try await backend.bytes(range)
                        if bytes != Array(model.value[start..<start + length]) {
                            problems.withLock { $0.append("guest \(number) reads wrong bytes at \(range)") }
                        }
                    }
                } catch {
                    problems.withLock { $0.append("\(error) at \(range)") }
                }
            }
        }
    }

    @Test(arguments: 0..<24)
    func `what guests see is what they wrote, whoever copies meanwhile`(_ seed: UInt64) async throws {
        try await withLoops(2) { loops in
            try await onGraph { _ in try await Self.round(seed: seed, loops) }
        }
    }

    @GraphActor
    private static func round(seed: UInt64, _ loops: [IOLoop]) async throws {
        var random = SeededGenerator(seed: seed)
        let depth = Int.random(in: 1...4, using: &random)
        let length = Int.random(in: 1...700, using: &random) * 512
        let rig = try await LayerRig(depth: depth, length: length, random: &random)
        let bottom = Bool.random(using: &random) ? rig.layers.randomElement(using: &random) : nil
        let filter = try await rig.graph.open(name: "filter", options: .with { $0.discard = .unmap }) {
            (node) throws(BlockError) in
            try CopyOnReadDriver.open(in: node, file: rig.top, bottom: bottom)
        }
        let model = Locked(rig.view)
        let problems = Locked<[String]>([])
        let permissions = PermissionPair(used: [.consistentRead, .write])
        var tasks: [Task<Void, Never>] = []
        for number in 0..<6 {
            // Some come past the filter.
            let node = number % 3 == 2 ? rig.top : filter
            let backend = try rig.graph.attachWriter(node, permissions: permissions)
            let guest = Guest(backend: backend, number: number, count: 6, model: model, problems: problems)
            let seed = random.next()
            tasks.append(
                Task(executorPreference: loops[number % 2]) {
                    await guest.run(SeededGenerator(seed: seed), operations: 60)
                })
        }
        for task in tasks { await task.value }
        let bytes = try await rig.graph.attachWriter(filter).bytes(0..<Int64(length))
        #expect(bytes == model.value, "seed \(seed)")
        #expect(problems.value == [], "seed \(seed)")
        // Everything has been read now.
        try await expectCopied(rig, bottom: bottom, "seed \(seed)")
        await rig.close()
        #expect(rig.graph.nodes.isEmpty, "seed \(seed)")
    }

    /// Nothing of the layers down to `bottom` is missing in the uppermost image.
    @GraphActor
    private static func expectCopied(_ rig: LayerRig, bottom: BlockNode?, _ comment: String) async throws {
        let base = bottom?.driver.backingChild?.node
        var start: Int64 = 0
        while start < rig.top.length {
            let run = try await rig.top.layerRun(start..<rig.top.length, above: base)
            #expect(run.place != .below, "\(comment): \(start)")
            start += run.length
        }
    }

    @Test func `data below the bottom are not copied, and zeroes are copied as such`() async throws {
        try await onGraph { fixture in
            let graph = fixture.graph
            let rig = try await FixedChain(graph)
            let filter = try await graph.open(name: "filter", options: NodeOptions()) { (node) throws(BlockError) in
                try CopyOnReadDriver.open(in: node, file: rig.top, bottom: rig.middle)
            }
            let user = try graph.attach("reader", to: filter, permissions: PermissionPair(used: .consistentRead))
            let bytes = try await user.bytes(0..<4 * 65536)
            #expect(bytes == pattern(65536, 1) + pattern(65536, 2) + pattern(65536, 0) + pattern(65536, 1))
            let runs = try await rig.kinds()
            #expect(runs == [.nowhere, .top, .top, .nowhere])
            await rig.close()
        }
    }

    @Test func `a copy that fails does not fail the guest's read, but the job's`() async throws {
        try await onGraph { fixture in
            let graph = fixture.graph
            let rig = try await FixedChain(graph)
            let filter = try await graph.open(name: "filter", options: NodeOptions()) { (node) throws(BlockError) in
                try CopyOnReadDriver.open(in: node, file: rig.top)
            }
            let user = try graph.attach("reader", to: filter, permissions: PermissionPair(used: .consistentRead))
            rig.topDisk.fail(.write, with: .ENOSPC)
            let bytes = try await user.bytes(65536..<65537)
            #expect(bytes == [2])
            let driver = try #require(filter.driver as? CopyOnReadDriver)
            let full = await failure { () async throws(CopyUpError) in try await driver.copy(65536..<65537) }
            #expect(full == CopyUpError(errno: .ENOSPC, isRead: false))
            rig.topDisk.repair()
            rig.middleDisk.fail(.read, with: .EIO)
            let unreadable = await failure { () async throws(CopyUpError) in try await driver.copy(65536..<65537) }
            #expect(unreadable == CopyUpError(errno: .EIO, isRead: true))
            rig.middleDisk.repair()
            try await driver.copy(65536..<65537)
            let runs = try await rig.kinds()
            #expect(runs == [.below, .top, .below, .below])
            await rig.close()
        }
    }

    @Test func `dirty bitmaps do not hear of copies`() async throws {
        try await onGraph { fixture in
            let graph = fixture.graph
            let rig = try await FixedChain(graph)
            let filter = try await graph.open(name: "filter", options: NodeOptions()) { (node) throws(BlockError) in
                try CopyOnReadDriver.open(in: node, file: rig.top)
            }
            let bitmap = try rig.top.bitmaps.add(name: "b", length: rig.top.length, granularity: 65536)
            let user = try graph.attachWriter(filter)
            _ = try await user.bytes(0..<4 * 65536)
            #expect(bitmap.info.count == 0)
            try await user.write([5], at: 0)
            #expect(bitmap.info.count == 65536)
            await rig.close()
        }
    }

    @Test func `links down to the bottom stay, and what is wrong is told`() async throws {
        try await onGraph { fixture in
            let graph = fixture.graph
            let rig = try await FixedChain(graph)
            let filter = try await graph.open(name: "filter", options: NodeOptions(), isOwnedByMonitor: true) {
                (node) throws(BlockError) in
                try CopyOnReadDriver.open(in: node, file: rig.top, bottom: rig.middle)
            }
            @GraphActor func refusal(_ file: BlockNode, _ bottom: BlockNode) async -> String? {
                await failure { () async throws(BlockError) in
                    _ = try await graph.open(name: "other", options: NodeOptions()) { (node) throws(BlockError) in
                        try CopyOnReadDriver.open(in: node, file: file, bottom: bottom)
                    }
                }?.description
            }
            #expect(await refusal(rig.top, filter) == "Bottom node 'filter' is a filter")
            #expect(await refusal(rig.middle, rig.top) == "Node 'top' is not in a chain starting from 'other'")
            @GraphActor func backing(_ node: BlockNode) async -> String? {
                await failure { () async throws(BlockError) in try await graph.setBacking(of: node, to: nil) }?
                    .description
            }
            #expect(await backing(rig.top) == "Cannot change frozen 'backing' link from 'top' to 'middle'")
            #expect(await backing(rig.middle) == nil)
            let moved = await failure { () async throws(BlockError) in try await graph.replace(rig.top, by: rig.base) }
            #expect(moved?.description == "Cannot change 'file' link from 'filter' to 'top'")
            try await graph.delete(filter)
            #expect(await backing(rig.top) == nil)
            await rig.close()
        }
    }
}

/// Runs a test on the control plane, in a task whose other parts run on an I/O loop.
private func onGraph(_ body: @escaping @Sendable @GraphActor (GraphFixture) async throws -> Void) async throws {
    try await onLoop { () async throws(any Error) in try await GraphFixture.run { fixture in try await body(fixture) } }
}

/// Three images of four clusters: the lowest is all ones, the middle has a cluster of twos and one of zeroes.
@GraphActor
private final class FixedChain {
    let graph: BlockGraph
    let base: BlockNode
    let middle: BlockNode
    let top: BlockNode
    let middleDisk: MemoryDriver
    let topDisk: MemoryDriver

    init(_ graph: BlockGraph) async throws {
        self.graph = graph
        base = try await graph.openMemory("base", MemoryDriver(pattern(4 * 65536, 1)), isOwnedByMonitor: true)
        (middle, middleDisk) = try await Self.image("middle", over: base)
        let writer = try graph.attachWriter(middle)
        try await writer.write(pattern(65536, 2), at: 65536)
        try await writer.writeZeroes(2 * 65536..<3 * 65536)
        graph.release(writer)
        (top, topDisk) = try await Self.image("top", over: middle)
    }

    private static func image(_ name: String, over backing: BlockNode) async throws -> (BlockNode, MemoryDriver) {
        let graph = backing.graph
        var abilities = MemoryDriver.Abilities()
        abilities.grows = true
        let disk = MemoryDriver([], abilities: abilities)
        let file = try await graph.openMemory(nil, disk, isOwnedByMonitor: true)
        try await Qcow2Creator.create(Qcow2CreationOptions(size: 4 * 65536), file: file)
        let header = try await Qcow2Driver.header(of: file)
        let node = try await graph.open(name: name, options: NodeOptions(), isOwnedByMonitor: true) {
            (node) throws(BlockError) in
            Qcow2Driver.open(
                Qcow2Configuration(), in: node, header: header, file: file, dataFile: nil, backing: backing)
        }
        return (node, disk)
    }

    /// Who has each cluster.
    func kinds() async throws(Errno) -> [LayerRun.Place] {
        var places: [LayerRun.Place] = []
        for cluster in 0..<4 {
            let start = Int64(cluster) * 65536
            places.append(try await top.layerRun(start..<start + 65536, above: baseOfCopies).place)
        }
        return places
    }

    /// What the filters of the tests count as below the bottom.
    var baseOfCopies: BlockNode? {
        guard let edge = top.parents.first(where: { $0.name == "file" }), case .node(let filter) = edge.parent,
            let driver = filter.driver as? CopyOnReadDriver
        else { return nil }
        return driver.base
    }

    func close() async {
        for backend in graph.backends { await graph.detach(backend) }
        await graph.closeAll()
    }
}
