import BlockGraph
import BlockTestSupport
import IOLoop
import StorageTestSupport
import Testing

@testable import BlockDrivers

@Suite struct SnapshotAccessTests {
    @Test func `a raw temporary file suffices as target`() async throws {
        try await onLoop { () async throws(any Error) in
            let directory = FileSystemDirectory(.disk)
            let old = randomDisk(300_000)
            let options = NodeOptions.with { $0.discard = .unmap }
            let graph = BlockGraph()
            let disk = try await graph.openFile(directory.makeFile("disk", old), options: options)
            let temp = try await graph.openFile(directory.makeFile("temp", length: 300_032), options: options)
            let path = "\(directory.path)/temp"
            let (filter, driver) = try await graph.openFilter(
                CopyBeforeWriteConfiguration(), source: disk, target: temp, options: options)
            let snapshot = try await graph.openSnapshotAccess(over: filter, options: options)
            let guest = try await graph.attachWriter(filter)
            let reader = try await graph.attachWriter(snapshot, permissions: PermissionPair(used: .consistentRead))
            #expect(snapshot.length == 300_032)
            try await guest.write(pattern(100_000, 1), at: 50_000)
            let bytes = try await reader.bytes(0..<300_000)
            #expect(bytes == old)
            let filled = allocatedBytes(path)
            #expect(filled >= 3 * 65536)
            // What is given up takes no space any more.
            try await snapshot.discard(0..<131_072)
            #expect(allocatedBytes(path) <= filled - 131_072)
            #expect(Array(driver.state.access.snapshot().dirtyAreas) == [131_072..<300_032])
            await graph.detach(reader)
            await graph.detach(guest)
            await graph.closeAll()
            #expect(openFiles(below: directory.path) == [])
        }
    }

    @Test func `a target that is too short fails the copies beyond its end`() async throws {
        try await onLoop { () async throws(any Error) in
            let graph = BlockGraph()
            let target = MemoryDriver(pattern(65536, 0))
            let disk = try await graph.openMemory("disk", MemoryDriver(pattern(131_072, 1)))
            let temp = try await graph.openMemory("temp", target)
            let (filter, _) = try await graph.openFilter(
                CopyBeforeWriteConfiguration(), source: disk, target: temp)
            let guest = try await graph.attachWriter(filter)
            try await guest.write([2], at: 0)
            let error = await failure { () async throws(Errno) in try await guest.write([2], at: 65536) }
            #expect(error == .EIO)
            #expect(target.violations == [])
            await graph.detach(guest)
        }
    }

    @Test func `nobody else may write to the target, nor to the disk past the filter`() async throws {
        try await onLoop { () async throws(any Error) in
            let rig = try await SnapshotRig(randomDisk(65536))
            let before = await rig.graph.picture
            for (node, role) in [(rig.targetNode, "target"), (rig.sourceNode, "file")] {
                let error = await failure { () async throws(BlockError) in _ = try await rig.graph.attachWriter(node) }
                #expect(
                    error?.description == """
                        Permission conflict on node '\(node.name)': permissions 'write' are both required by block device '' \
                        (uses node '\(node.name)' as 'root' child) and unshared by node 'cbw' (uses node '\(node.name)' as \
                        '\(role)' child).
                        """)
            }
            let after = await rig.graph.picture
            #expect(after == before)
            await rig.close()
        }
    }

    @Test func `over a node that keeps no point in time all I/O is ENOTSUP`() async throws {
        try await onLoop { () async throws(any Error) in
            let graph = BlockGraph()
            let options = NodeOptions.with { $0.discard = .unmap }
            let disk = try await graph.openMemory("disk", MemoryDriver(pattern(4096, 1)))
            let node = try await graph.openSnapshotAccess(over: disk, options: options)
            #expect(node.length == 4096)
            let errors = [
                await failure { () async throws(Errno) in _ = try await node.bytes(0..<1) },
                await failure { () async throws(Errno) in try await node.write([1], at: 0) },
                await failure { () async throws(Errno) in _ = try await node.blockStatus(0..<1) },
            ]
            #expect(errors == [.ENOTSUP, .ENOTSUP, .ENOTSUP])
            await graph.closeIfUnused(node)
        }
    }

    @Test func `a point in time cannot be written, and a read-only node cannot give it up`() async throws {
        try await onLoop { () async throws(any Error) in
            let rig = try await SnapshotRig(randomDisk(65536))
            for flags in [[], .mayUnmap, .noFallback] as [WriteFlags] {
                let error = await failure { () async throws(Errno) in
                    try await rig.reader.writeZeroes(0..<512, flags: flags)
                }
                #expect(error == .ENOTSUP)
            }
            let write = await failure { () async throws(Errno) in try await rig.reader.write([1], at: 0) }
            #expect(write == .ENOTSUP)
            let node = try await rig.graph.openSnapshotAccess(
                over: rig.filterNode,
                options: .with {
                    $0.isReadOnly = true
                    $0.discard = .unmap
                }, name: "ro")
            let discard = await failure { () async throws(Errno) in try await node.discard(0..<65536) }
            #expect(discard == .EPERM)
            let bytes = try await rig.snapshot(rig.all)
            #expect(bytes == rig.old)
            await rig.graph.closeIfUnused(node)
            await rig.close()
        }
    }
}
