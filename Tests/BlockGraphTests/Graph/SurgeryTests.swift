import BlockGraph
import BlockTestSupport
import IOLoop
import StorageTestSupport
import Testing

@Suite struct SurgeryTests {
    @Test func `a filter takes the place of a node, and gives it back`() async throws {
        try await onLoop { () async throws(any Error) in
            let graph = BlockGraph()
            let disk = try await graph.openMemory("disk", MemoryDriver(pattern(4096, 1)), isOwnedByMonitor: true)
            let above = try await graph.openPassing("above", over: disk)
            let user = try await graph.attachWriter(above)
            let other = try await graph.attach("reader", to: disk, permissions: PermissionPair(used: .consistentRead))
            let filter = try await graph.openPassing("filter", over: disk)
            try await graph.replace(disk, by: filter)
            await #expect(above.child(named: "file")?.node === filter)
            #expect(other.node === filter)
            await #expect(disk.parents.count == 1)
            await #expect(filter.permissions.used.contains(.write))
            try await user.write([7], at: 9)
            let bytes = try await user.bytes(9..<10)
            #expect(bytes == [7])
            try await graph.replace(filter, by: disk)
            await graph.closeIfUnused(filter)
            await #expect(above.child(named: "file")?.node === disk)
            await #expect(graph.nodes.map(\.name) == ["disk", "above"])
            await graph.detach(user)
            await graph.detach(other)
            await graph.closeAll()
        }
    }

    @Test func `only the edges that are meant move`() async throws {
        try await onLoop { () async throws(any Error) in
            let graph = BlockGraph()
            let disk = try await graph.openMemory("disk", MemoryDriver(pattern(4096, 1)), isOwnedByMonitor: true)
            let other = try await graph.openMemory("other", MemoryDriver(pattern(4096, 2)), isOwnedByMonitor: true)
            let readers = [try await graph.attachReader(disk), try await graph.attachReader(disk)]
            let moving = readers[1]
            try await graph.replace(disk, by: other) { edge in
                if case .backend(let backend) = edge.parent { backend === moving } else { false }
            }
            #expect(readers[0].node === disk)
            #expect(readers[1].node === other)
            for reader in readers { await graph.detach(reader) }
            await graph.closeAll()
        }
    }

    @Test func `a conflict leaves everything as it was, and a change can be taken back`() async throws {
        try await onLoop { () async throws(any Error) in
            let graph = BlockGraph()
            let disk = try await graph.openMemory("disk", MemoryDriver(pattern(4096, 1)), isOwnedByMonitor: true)
            let other = try await graph.openMemory("other", MemoryDriver(pattern(4096, 2)), isOwnedByMonitor: true)
            let user = try await graph.attachWriter(disk)
            let holder = try await graph.attach(
                "holder", to: other, permissions: PermissionPair(used: [], shared: .consistentRead))
            let refused = await failure { () async throws(BlockError) in try await graph.replace(disk, by: other) }
            #expect(refused?.description.contains("holder") == true)
            #expect(user.node === disk)
            await #expect(disk.parents.count == 1)
            await graph.detach(holder)
            let undo = try await graph.change([.replace(disk, by: other, where: { _ in true })])
            #expect(user.node === other)
            await undo.run()
            #expect(user.node === disk)
            await #expect(other.parents.isEmpty)
            await graph.detach(user)
            await graph.closeAll()
        }
    }

    @Test func `a node cannot come below itself`() async throws {
        try await onLoop { () async throws(any Error) in
            let graph = BlockGraph()
            let disk = try await graph.openMemory("disk", MemoryDriver(pattern(4096, 1)), isOwnedByMonitor: true)
            let top = try await graph.openPassing("top", over: disk)
            let refused = await failure { () async throws(BlockError) in try await graph.setBacking(of: disk, to: top) }
            #expect(refused?.description == "Making 'top' a backing child of 'disk' would create a cycle")
            await graph.closeAll()
        }
    }
}

extension BlockGraph {
    /// A reader that shares everything.
    fileprivate func attachReader(_ node: BlockNode) throws(BlockError) -> BlockBackend {
        try attach("reader", to: node, permissions: PermissionPair(used: .consistentRead, shared: .all))
    }
}
