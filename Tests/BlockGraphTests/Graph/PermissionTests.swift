import BlockGraph
import BlockTestSupport
import IOLoop
import StorageTestSupport
import Testing

@Suite struct PermissionTests {
    @Test func `a conflict names both users in QEMU's words, and changes nothing`() async throws {
        try await onLoop { () async throws(any Error) in
            let graph = BlockGraph()
            let disk = try await graph.openMemory("disk", MemoryDriver(pattern(4096, 1)))
            let filter = try await graph.openPassing("f", over: disk)
            let alone = PermissionPair(used: [.consistentRead, .write], shared: [.consistentRead])
            let first = try await graph.attachWriter(filter, description: "block device 'x'", permissions: alone)
            let before = await graph.picture
            let error = await failure { () async throws(BlockError) in
                _ = try await graph.attachWriter(disk, description: "block device 'y'")
            }
            #expect(
                error?.description == """
                    Permission conflict on node 'disk': permissions 'write' are both required by block device 'y' (uses node \
                    'disk' as 'root' child) and unshared by node 'f' (uses node 'disk' as 'file' child).
                    """)
            let reverse = await failure { () async throws(BlockError) in
                let greedy = PermissionPair(used: [.consistentRead, .write, .resize], shared: [])
                _ = try await graph.attachWriter(disk, description: "block device 'y'", permissions: greedy)
            }
            #expect(reverse?.description.hasPrefix("Permission conflict on node 'disk': permissions '") == true)
            let after = await graph.picture
            #expect(after == before)
            let count = await graph.backends.count
            #expect(count == 1)
            await graph.detach(first)
            await graph.closeAll()
        }
    }

    @Test func `several permissions in conflict are listed in their order`() async throws {
        try await onLoop { () async throws(any Error) in
            let graph = BlockGraph()
            let disk = try await graph.openMemory("disk", MemoryDriver(pattern(4096, 1)))
            let shy = PermissionPair(used: [], shared: [.consistentRead, .writeUnchanged])
            let first = try await graph.attachWriter(disk, description: "a", permissions: shy)
            let error = await failure { () async throws(BlockError) in
                _ = try await graph.attachWriter(disk, description: "b", permissions: PermissionPair(used: .all))
            }
            #expect(error?.description.contains("permissions 'write, resize' are both required by b") == true)
            await graph.detach(first)
        }
    }

    @Test func `a filter hands its parents' permissions on`() async throws {
        try await onLoop { () async throws(any Error) in
            let graph = BlockGraph()
            let disk = try await graph.openMemory("disk", MemoryDriver(pattern(4096, 1)))
            let lower = try await graph.openPassing("lower", over: disk)
            let upper = try await graph.openPassing("upper", over: lower)
            let none = await disk.permissions
            #expect(none == PermissionPair())
            let pair = PermissionPair(used: [.consistentRead, .write], shared: [.consistentRead, .write])
            let user = try await graph.attachWriter(upper, permissions: pair)
            let taken = await disk.permissions
            #expect(taken == pair)
            let less = PermissionPair(used: .consistentRead)
            try await graph.setPermissions(less, of: user)
            let reduced = await disk.permissions
            #expect(reduced == less)
            await graph.detach(user)
            let left = await graph.nodes
            #expect(left == [])
        }
    }

    @Test func `a format takes its file for itself, and reads its backing file`() async throws {
        try await onLoop { () async throws(any Error) in
            let graph = BlockGraph()
            let disk = try await graph.openMemory("disk", MemoryDriver(pattern(4096, 1)), isOwnedByMonitor: true)
            let base = try await graph.openMemory("base", MemoryDriver(pattern(4096, 2)), isOwnedByMonitor: true)
            let top = try await graph.openFormat("top", over: disk, backing: base)
            let metadata = await disk.permissions
            #expect(metadata.used == [.consistentRead, .write, .resize])
            #expect(metadata.shared == [.consistentRead, .writeUnchanged])
            let user = try await graph.attachWriter(top)
            let file = await disk.permissions
            let backing = await base.permissions
            #expect(file.used == [.consistentRead, .write, .resize])
            #expect(backing.used == [.consistentRead])
            let conflict = await failure { () async throws(BlockError) in _ = try await graph.attachWriter(disk) }
            #expect(conflict?.description.contains("unshared by node 'top' (uses node 'disk' as 'file' child)") == true)
            await graph.detach(user)
            await graph.closeAll()
        }
    }

    @Test func `a read-only node refuses writers above filters, and tells so`() async throws {
        try await onLoop { () async throws(any Error) in
            let graph = BlockGraph()
            var options = NodeOptions()
            options.isReadOnly = true
            let disk = try await graph.openMemory("disk", MemoryDriver(pattern(4096, 1)), options: options)
            let filter = try await graph.openPassing("f", over: disk)
            let before = await graph.picture
            for node in [disk, filter] {
                let error = await failure { () async throws(BlockError) in _ = try await graph.attachWriter(node) }
                #expect(error?.description == "Block node is read-only")
            }
            let after = await graph.picture
            #expect(after == before)
            let reader = try await graph.attachWriter(filter, permissions: PermissionPair(used: .consistentRead))
            let bytes = try await reader.bytes(0..<4096)
            #expect(bytes == pattern(4096, 1))
            let raise = await failure { () async throws(BlockError) in
                try await graph.setPermissions(PermissionPair(used: [.consistentRead, .write]), of: reader)
            }
            #expect(raise?.description == "Block node is read-only")
            let kept = await reader.permissions
            #expect(kept.used == .consistentRead)
            for (index, error) in [
                await failure { () async throws(Errno) in try await disk.write([1], at: 0) },
                await failure { () async throws(Errno) in try await disk.writeZeroes(0..<1) },
                await failure { () async throws(Errno) in try await disk.discard(0..<1) },
            ].enumerated() {
                #expect(error == .EPERM, "\(index)")
            }
            let resize = await failure { () async throws(BlockError) in try await disk.resize(to: 1, exact: true) }
            #expect(resize != nil)
            await graph.detach(reader)
        }
    }
}
