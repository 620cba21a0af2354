import BlockGraph
import BlockTestSupport
import IOLoop
import StorageTestSupport
import Testing

/// Opening and deleting nodes.
@Suite struct LifetimeTests {
    @Test func `names are checked`() async throws {
        try await onLoop { () async throws(any Error) in
            let graph = BlockGraph()
            let long = "a" + String(repeating: "x", count: 30)
            let good = ["a", "Z9", "a-b.c_d", long]
            for name in good { _ = try await graph.openMemory(name, MemoryDriver([0]), isOwnedByMonitor: true) }
            let bad = [
                ("", "Invalid node-name: ''"), ("1a", "Invalid node-name: '1a'"),
                ("#block", "Invalid node-name: '#block'"),
                ("a b", "Invalid node-name: 'a b'"), ("ä", "Invalid node-name: 'ä'"),
                (long + "x", "Node name too long"),
                ("a", "Duplicate nodes with node-name='a'"),
            ]
            for (name, text) in bad {
                let error = await failure { () async throws(BlockError) in
                    _ = try await graph.openMemory(name, MemoryDriver([0]))
                }
                #expect(error?.description == text)
            }
            let count = await graph.nodes.count
            #expect(count == good.count)
            await graph.closeAll()
        }
    }

    @Test func `made-up names are unlike each other`() async throws {
        try await onLoop { () async throws(any Error) in
            let graph = BlockGraph()
            var names: Set<String> = []
            for _ in 0..<120 {
                let node = try await graph.openMemory(nil, MemoryDriver([0]), isOwnedByMonitor: true)
                #expect(node.hasGeneratedName && node.name.hasPrefix("#block") && node.name.utf8.count <= 31)
                names.insert(node.name)
            }
            #expect(names.count == 120)
            await graph.closeAll()
        }
    }

    @Test func `a failed opening leaves nothing behind, but what others use`() async throws {
        try await onLoop { () async throws(any Error) in
            let graph = BlockGraph()
            let mine = MemoryDriver([0])
            let child = try await graph.openMemory("child", mine)
            let closings = Counter()
            let error = await failure { () async throws(BlockError) in
                _ = try await graph.openPassing(
                    "f", over: child, startError: BlockError("no"), closings: closings)
            }
            #expect(error?.description == "no")
            #expect(closings.value == 1)
            #expect(mine.isClosed)
            var left = await graph.nodes
            #expect(left == [])

            let owned = try await graph.openMemory("child", MemoryDriver([0]), isOwnedByMonitor: true)
            let before = await graph.picture
            let again = await failure { () async throws(BlockError) in
                _ = try await graph.openPassing("f", over: owned, startError: BlockError("no"))
            }
            #expect(again != nil)
            let after = await graph.picture
            #expect(after == before)
            left = await graph.nodes
            #expect(left == [owned])
            // A conflict of permissions, not of the driver.
            let user = try await graph.attachWriter(
                owned, permissions: PermissionPair(used: .write, shared: .consistentRead))
            let used = await graph.picture
            let conflict = await failure { () async throws(BlockError) in
                _ = try await graph.openFormat("q", over: owned)
            }
            #expect(conflict?.description.hasPrefix("Permission conflict on node 'child'") == true)
            let unused = await graph.picture
            #expect(unused == used)
            await graph.detach(user)
            await graph.closeAll()
        }
    }

    @Test func `deleting follows QEMU's rules and texts`() async throws {
        try await onLoop { () async throws(any Error) in
            let graph = BlockGraph()
            let owned = try await graph.openMemory("owned", MemoryDriver([0]), isOwnedByMonitor: true)
            let inner = try await graph.openMemory("inner", MemoryDriver([0]))
            let above = try await graph.openPassing("above", over: owned, isOwnedByMonitor: true)
            let outer = try await graph.openPassing("outer", over: inner, isOwnedByMonitor: true)
            func refusal(_ node: BlockNode) async -> String? {
                await failure { () async throws(BlockError) in try await graph.delete(node) }?.description
            }
            var text = await refusal(owned)
            #expect(text == "Block device owned is in use")
            text = await refusal(inner)
            #expect(text == "Node inner is not owned by the monitor")
            let users = [try await graph.attachWriter(owned), try await graph.attachWriter(inner)]
            text = await refusal(owned)
            #expect(text == "Node owned is in use")
            text = await refusal(inner)
            #expect(text == "Node inner is in use")
            for user in users { await graph.detach(user) }
            try await graph.delete(above)
            try await graph.delete(owned)
            // A child that nobody owns goes with its parent.
            try await graph.delete(outer)
            let left = await graph.nodes
            #expect(left == [])
        }
    }

    @Test func `a user keeps a node that nobody owns alive`() async throws {
        try await onLoop { () async throws(any Error) in
            let graph = BlockGraph()
            let driver = MemoryDriver([1])
            let node = try await graph.openMemory("n", driver)
            let first = try await graph.attachWriter(node)
            let second = try await graph.attachWriter(node)
            await graph.detach(first)
            await graph.detach(first)
            #expect(!driver.isClosed)
            await graph.detach(second)
            #expect(driver.isClosed)
            #expect(driver.violations == [])
        }
    }

    @Test func `detaching waits for requests under way`() async throws {
        try await onLoop { () async throws(any Error) in
            let graph = BlockGraph()
            let driver = MemoryDriver(pattern(512, 1))
            let user = try await graph.attachWriter(try await graph.openMemory("n", driver))
            let pause = driver.pause(.read)
            let read = Task(executorPreference: IOLoop.required) { try await user.bytes(0..<512) }
            await pause.waitUntilHeld()
            let isDetached = Flag()
            let detaching = Task(executorPreference: IOLoop.required) {
                await graph.detach(user)
                isDetached.set()
            }
            for _ in 0..<50 { await Task.yield() }
            #expect(!isDetached.isSet)
            pause.resume()
            let bytes = try await read.value
            #expect(bytes == pattern(512, 1))
            await detaching.value
            #expect(driver.isClosed && driver.violations == [])
        }
    }
}
