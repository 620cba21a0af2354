import BlockGraph
import BlockTestSupport
import IOLoop
import StorageTestSupport
import Testing

@Suite struct DrainTests {
    @Test func `no request is under way in a drained section, under load from several loops`() async throws {
        try await withLoops(3) { loops in
            let graph = BlockGraph()
            var abilities = MemoryDriver.Abilities()
            abilities.yields = true
            let driver = MemoryDriver(pattern(16 * 512, 0), abilities: abilities)
            let (disk, users) = try await on(loops[0]) { () async throws(BlockError) in
                let disk = try await graph.openMemory("disk", driver)
                let left = try await graph.openPassing("left", over: disk)
                let right = try await graph.openPassing("right", over: disk)
                return (disk, [try await graph.attachWriter(left), try await graph.attachWriter(right)])
            }
            let isOver = Flag()
            let passed = Counter()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for worker in 0..<9 {
                    group.addTask(executorPreference: loops[worker % loops.count]) {
                        while !isOver.isSet {
                            try await users[worker % 2].write(pattern(512, 1), at: Int64(worker) * 512)
                            passed.add()
                            await Task.yield()
                        }
                    }
                }
                group.addTask(executorPreference: loops[0]) {
                    for _ in 0..<100 {
                        try await graph.drained([disk]) { () async throws(BlockError) in
                            let before = (driver.requests.count, passed.value)
                            for _ in 0..<5 { await Task.yield() }
                            #expect(users[0].requestsInFlight + users[1].requestsInFlight == 0)
                            #expect(driver.requests.count == before.0)
                        }
                        await Task.yield()
                    }
                    isOver.set()
                }
                try await group.waitForAll()
            }
            #expect(passed.value > 0)
            #expect(driver.requests.count == passed.value)
            for user in users { await graph.detach(user) }
        }
    }

    @Test func `drained sections nest, and open again after an error`() async throws {
        try await onLoop { () async throws(any Error) in
            let graph = BlockGraph()
            let disk = try await graph.openMemory("disk", MemoryDriver(pattern(512, 1)))
            let user = try await graph.attachWriter(disk)
            try await graph.drained([disk]) { () async throws(BlockError) in
                try await graph.drained([disk]) { () async throws(BlockError) in }
                #expect(user.length == 512)
            }
            let error = await failure { () async throws(BlockError) in
                try await graph.drained([disk]) { () async throws(BlockError) in throw BlockError("no") }
            }
            #expect(error?.description == "no")
            let bytes = try await user.bytes(0..<512)
            #expect(bytes == pattern(512, 1))
            await graph.detach(user)
        }
    }

    @Test func `a request that comes in a drained section waits for its end`() async throws {
        try await onLoop { () async throws(any Error) in
            let graph = BlockGraph()
            let driver = MemoryDriver(pattern(512, 1))
            let disk = try await graph.openMemory("disk", driver)
            let user = try await graph.attachWriter(disk)
            let other = try await graph.openMemory("other", MemoryDriver(pattern(512, 1)))
            let bystander = try await graph.attachWriter(other)
            let task = try await graph.drained([disk]) { () async throws(BlockError) in
                let task = Task(executorPreference: IOLoop.main) { try await user.bytes(0..<512) }
                for _ in 0..<20 { await Task.yield() }
                #expect(driver.requests == [])
                _ = try? await bystander.bytes(0..<512)
                return task
            }
            let bytes = try await task.value
            #expect(bytes == pattern(512, 1))
            await graph.detach(user)
            await graph.detach(bystander)
        }
    }
}
