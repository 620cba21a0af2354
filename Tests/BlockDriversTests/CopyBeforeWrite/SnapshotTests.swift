import BlockGraph
import BlockTestSupport
import IOLoop
import StorageTestSupport
import Testing

@testable import BlockDrivers

/// The point in time, with a guest that behaves.
@Suite struct SnapshotTests {
    @Test func `reads outside of the bitmap are EACCES, and those inside see the old data`() async throws {
        try await onLoop { () async throws(any Error) in
            let cluster = SnapshotRig.cluster
            let rig = try await SnapshotRig(
                randomDisk(6 * 65536), covered: [cluster..<2 * cluster, 4 * cluster..<4 * cluster + 1])
            for n in [0, 1, 2, 3, 4, 5] as [Int64] { try await rig.guest.write(pattern(65536, 1), at: n * cluster) }
            let inside = try await rig.snapshot(rig.cluster(1))
            #expect(inside == rig.old(rig.cluster(1)))
            let last = try await rig.snapshot(rig.cluster(4))
            #expect(last == rig.old(rig.cluster(4)))
            for range in [
                0..<1, cluster - 1..<cluster, cluster - 1..<cluster + 1, 2 * cluster - 1..<2 * cluster + 1, rig.all,
            ] {
                let error = await failure { () async throws(Errno) in _ = try await rig.snapshot(range) }
                #expect(error == .EACCES, "\(range)")
            }
            // Only what is in the bitmap was copied.
            let copied = rig.target.requests.filter { $0.operation == .write }.map(\.range)
            #expect(copied == [rig.cluster(1), rig.cluster(4)])
            await rig.close()
        }
    }

    @Test func `a bitmap of fine granularity covers the clusters that it touches`() async throws {
        try await onLoop { () async throws(any Error) in
            let rig = try await SnapshotRig(
                randomDisk(3 * 65536), covered: [65536 + 512..<65536 + 1024], bitmapGranularity: 512)
            let bitmaps = rig.bitmaps
            #expect(bitmaps.access == [65536..<131072])
            #expect(bitmaps.copy == [65536..<131072])
            await rig.close()
        }
    }

    @Test func `a discard makes later reads EACCES and stops copying`() async throws {
        try await onLoop { () async throws(any Error) in
            let rig = try await SnapshotRig(randomDisk(4 * 65536))
            try await rig.guest.write(pattern(65536, 1), at: 0)
            rig.target.forgetRequests()
            try await rig.reader.discard(0..<2 * 65536)
            #expect(rig.target.requests.map(\.range) == [0..<2 * 65536])
            #expect(rig.target.requests.map(\.operation) == [.discard])
            let bitmaps = rig.bitmaps
            #expect(bitmaps.access == [2 * 65536..<4 * 65536])
            #expect(bitmaps.copy == [2 * 65536..<4 * 65536])
            for n in [0, 1] as [Int64] {
                let error = await failure { () async throws(Errno) in _ = try await rig.snapshot(rig.cluster(n)) }
                #expect(error == .EACCES)
            }
            rig.target.forgetRequests()
            try await rig.guest.write(pattern(2 * 65536, 2), at: 0)
            #expect(rig.target.requests == [])
            let rest = try await rig.snapshot(2 * 65536..<4 * 65536)
            #expect(rest == rig.old(2 * 65536..<4 * 65536))
            await rig.close()
        }
    }

    @Test(
        arguments: [
            (1..<65536, 0..<0), (1..<65537, 0..<0), (1..<131072, 65536..<131072), (0..<65537, 0..<65536),
            (65535..<200_000, 65536..<200_000), (131072..<200_000, 131072..<200_000),
            (131073..<200_000, 196_608..<200_000),
            (0..<200_000, 0..<200_000), (199_999..<200_000, 0..<0), (0..<199_999, 0..<196_608),
        ] as [(ByteRange, ByteRange)])
    func `an unaligned discard gives up whole clusters only`(_ range: ByteRange, _ given: ByteRange) async throws {
        try await onLoop { () async throws(any Error) in
            let rig = try await SnapshotRig(randomDisk(200_000))
            try await rig.reader.discard(range)
            var expected = [0..<Int64(200_000)]
            if !given.isEmpty {
                expected = [0..<given.lowerBound, given.upperBound..<200_000].filter { !$0.isEmpty }
            }
            #expect(rig.bitmaps.access == expected)
            #expect(rig.bitmaps.copy == expected)
            await rig.close()
        }
    }

    @Test(arguments: [1, 511, 512, 65535, 65536, 65537, 200_000, 196_608], [0, 16384, 131_072] as [Int64])
    func `disks of any size keep their point in time`(_ size: Int, _ minimum: Int64) async throws {
        try await onLoop { () async throws(any Error) in
            let rig = try await SnapshotRig(randomDisk(size), minimumClusterSize: minimum)
            let before = try await rig.snapshot(rig.all)
            #expect(before == rig.old)
            try await rig.guest.write(pattern(1, 7), at: Int64(size - 1))
            try await rig.guest.write(pattern(size, 8), at: 0)
            let after = try await rig.snapshot(rig.all)
            #expect(after == rig.old)
            #expect(rig.source.bytes == pattern(size, 8))
            #expect(rig.bitmaps.copy == [])
            #expect(rig.source.violations + rig.target.violations == [])
            let status = try await rig.reader.blockStatusAbove(rig.all).status
            #expect(status.length > 0 && status.length <= Int64(size))
            await rig.close()
        }
    }

    @Test(arguments: [1 << 20, 4 << 20] as [Int64])
    func `clusters above a megabyte are copied whole`(_ clusterSize: Int64) async throws {
        try await onLoop { () async throws(any Error) in
            let rig = try await SnapshotRig(randomDisk(9_000_001), minimumClusterSize: clusterSize)
            try await rig.guest.write([1], at: 4_500_000)
            try await rig.guest.write(pattern(9_000_001, 9), at: 0)
            let after = try await rig.snapshot(rig.all)
            #expect(after == rig.old)
            await rig.close()
        }
    }

    @Test func `zero clusters become holes of the target`() async throws {
        try await onLoop { () async throws(any Error) in
            let rig = try await SnapshotRig(pattern(65536, 0) + randomDisk(65536))
            try await rig.guest.write(pattern(131072, 3), at: 0)
            let writes = rig.target.requests.filter { $0.operation != .flush }
            #expect(writes.count == 1 || writes.count == 2)
            let after = try await rig.snapshot(rig.all)
            #expect(after == rig.old)
            await rig.close()
        }
    }

    @Test func `zeroing and discarding by the guest copy first`() async throws {
        try await onLoop { () async throws(any Error) in
            let rig = try await SnapshotRig(randomDisk(4 * 65536))
            try await rig.guest.writeZeroes(100..<200)
            try await rig.guest.discard(65536..<2 * 65536)
            try await rig.guest.writeZeroes(2 * 65536..<3 * 65536, flags: .mayUnmap)
            let after = try await rig.snapshot(rig.all)
            #expect(after == rig.old)
            #expect(rig.bitmaps.copy == [rig.cluster(3)])
            await rig.close()
        }
    }

    @Test func `cutting the disk off copies first, and the point in time keeps its length`() async throws {
        try await onLoop { () async throws(any Error) in
            let rig = try await SnapshotRig(randomDisk(4 * 65536))
            try await rig.graph.drained([rig.filterNode]) { () async throws(BlockError) in
                try await rig.filterNode.resize(to: 65536 + 100, exact: true)
            }
            #expect(rig.filterNode.length == 65536 + 100)
            #expect(rig.snapshotNode.length == 4 * 65536)
            try await rig.guest.write(pattern(100, 1), at: 65536)
            let after = try await rig.snapshot(rig.all)
            #expect(after == rig.old)
            let status = try await rig.reader.blockStatusAbove(3 * 65536..<4 * 65536).status
            #expect(status.length == 65536)
            try await rig.graph.drained([rig.filterNode]) { () async throws(BlockError) in
                try await rig.filterNode.resize(to: 8 * 65536, exact: true)
            }
            try await rig.guest.write(pattern(8 * 65536, 2), at: 0)
            let again = try await rig.snapshot(rig.all)
            #expect(again == rig.old)
            await rig.close()
        }
    }

    @Test func `block status in parallel, over copied and untouched parts`() async throws {
        try await onLoop { () async throws(any Error) in
            let rig = try await SnapshotRig(randomDisk(16 * 65536))
            for n in stride(from: 0, to: 16, by: 2) { try await rig.guest.write([1], at: Int64(n) * 65536 + 5) }
            let problems = Counter()
            await withTaskGroup(of: Void.self) { group in
                for worker in 0..<16 {
                    group.addTask(executorPreference: IOLoop.required) {
                        var offset = Int64(worker)
                        while offset < 16 * 65536 {
                            let result = try? await rig.reader.blockStatusAbove(offset..<16 * 65536)
                            guard let length = result?.status.length, length > 0 else { return problems.add() }
                            offset += length
                        }
                    }
                    group.addTask(executorPreference: IOLoop.required) {
                        let result = try? await rig.snapshot(0..<16 * 65536)
                        if result != rig.old { problems.add() }
                    }
                }
            }
            #expect(problems.value == 0)
            #expect(rig.filter.state.reads.isEmpty && rig.filter.state.targetReads.isEmpty)
            await rig.close()
        }
    }

    @Test func `closing leaves nothing behind`() async throws {
        try await onLoop { () async throws(any Error) in
            let rig = try await SnapshotRig(randomDisk(65536))
            try await rig.guest.write([1], at: 0)
            await rig.close()
            let nodes = await rig.graph.nodes
            #expect(nodes == [])
            #expect(rig.source.isClosed && rig.target.isClosed)
            #expect(rig.source.violations + rig.target.violations == [])
        }
    }
}
