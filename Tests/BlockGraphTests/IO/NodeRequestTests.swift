import BlockGraph
import BlockTestSupport
import IOLoop
import StorageTestSupport
import Testing

/// What a node adds to single requests.
@Suite struct NodeRequestTests {
    private static func aligned(_ alignment: Int64, _ change: (inout MemoryDriver.Abilities) -> Void = { _ in })
        -> MemoryDriver.Abilities
    {
        var abilities = MemoryDriver.Abilities()
        abilities.limits.requestAlignment = alignment
        change(&abilities)
        return abilities
    }

    @Test func `unaligned writers of one block do not tear, on several loops`() async throws {
        try await withLoops(3) { loops in
            let graph = BlockGraph()
            let driver = MemoryDriver(pattern(4 * 512, 0), abilities: Self.aligned(512) { $0.yields = true })
            let node = try await on(loops[0]) { () async throws(BlockError) in
                try await graph.openMemory("n", driver, isOwnedByMonitor: true)
            }
            let writers = 32
            try await withThrowingTaskGroup(of: Void.self) { group in
                for writer in 0..<writers {
                    group.addTask(executorPreference: loops[writer % loops.count]) {
                        // 61 bytes each: some cross blocks.
                        for round in 1...20 {
                            try await node.write(pattern(61, UInt8(round)), at: Int64(writer * 61 + 7))
                            if writer % 5 == 0 {
                                try await node.writeZeroes(Int64(writer * 61 + 7)..<Int64(writer * 61 + 9))
                            }
                        }
                    }
                }
                try await group.waitForAll()
            }
            for writer in 0..<writers {
                let bytes = Array(driver.bytes[writer * 61 + 7..<writer * 61 + 68])
                let expected = writer % 5 == 0 ? [0, 0] + pattern(59, 20) : pattern(61, 20)
                #expect(bytes == expected, "writer \(writer)")
            }
            #expect(driver.violations == [])
            await graph.closeAll()
        }
    }

    @Test func `an aligned write waits for the unaligned one of the same block`() async throws {
        try await onLoop { () async throws(any Error) in
            let graph = BlockGraph()
            let driver = MemoryDriver(pattern(1024, 1), abilities: Self.aligned(512))
            let node = try await graph.openMemory("n", driver, isOwnedByMonitor: true)
            let pause = driver.pause(.write, limit: 1)
            let unaligned = Task(executorPreference: IOLoop.required) { try await node.write([9], at: 3) }
            await pause.waitUntilHeld()
            let aligned = Task(executorPreference: IOLoop.required) { try await node.write(pattern(512, 5), at: 0) }
            try await node.write(pattern(512, 6), at: 512)
            for _ in 0..<30 { await Task.yield() }
            pause.resume()
            try await unaligned.value
            try await aligned.value
            #expect(driver.bytes == pattern(512, 5) + pattern(512, 6))
            await graph.closeAll()
        }
    }

    @Test func `an error of a driver comes through, and nothing stays locked`() async throws {
        try await onLoop { () async throws(any Error) in
            let graph = BlockGraph()
            let driver = MemoryDriver(pattern(4096, 1), abilities: Self.aligned(512))
            let node = try await graph.openMemory("n", driver, isOwnedByMonitor: true)
            let user = try await graph.attachWriter(node)
            for (operation, error) in [
                (MemoryDriver.Operation.read, Errno.EIO), (.write, .ENOSPC), (.writeZeroes, .EDQUOT),
                (.discard, .EBUSY),
                (.flush, .EROFS), (.blockStatus, .ENOMEM),
            ] {
                driver.fail(operation, with: error, count: 1)
                let thrown = await failure { () async throws(Errno) in
                    switch operation {
                    case .read: _ = try await user.bytes(1..<700)
                    case .write: try await user.write(pattern(700, 2), at: 1)
                    case .writeZeroes: try await user.writeZeroes(0..<512)
                    case .discard: try await node.driver.discard(0..<512)
                    case .flush: try await user.flush()
                    case .blockStatus: _ = try await user.blockStatusAbove(0..<512)
                    }
                }
                #expect(thrown == error, "\(operation)")
                #expect(user.requestsInFlight == 0)
            }
            try await user.write(pattern(4096, 3), at: 0)
            #expect(driver.bytes == pattern(4096, 3))
            await graph.detach(user)
            await graph.closeAll()
        }
    }

    @Test func `requests beyond the end of a backend are EIO`() async throws {
        try await onLoop { () async throws(any Error) in
            let graph = BlockGraph()
            let user = try await graph.attachWriter(try await graph.openMemory("n", MemoryDriver(pattern(1000, 1))))
            for range in [999..<1001, 1000..<1001, 0..<Int64.max, Int64.max - 1..<Int64.max] as [ByteRange] {
                let write = await failure { () async throws(Errno) in try await user.writeZeroes(range) }
                let discard = await failure { () async throws(Errno) in try await user.discard(range) }
                #expect(write == .EIO && discard == .EIO)
            }
            try await user.write([2], at: 999)
            try await user.writeZeroes(1000..<1000)
            let status = try await user.blockStatusAbove(1000..<2000).status
            #expect(status.length == 0 && status.isEndOfFile)
            await graph.detach(user)
        }
    }

    @Test func `writes, zeroes and discards mark the dirty bitmaps, even when they fail`() async throws {
        try await onLoop { () async throws(any Error) in
            let graph = BlockGraph()
            var options = NodeOptions()
            options.discard = .unmap
            let driver = MemoryDriver(pattern(1 << 20, 1))
            let node = try await graph.openMemory("n", driver, options: options, isOwnedByMonitor: true)
            let bitmap = try node.bitmaps.add(name: "b", length: node.length, granularity: 4096)
            let idle = try node.bitmaps.add(name: "i", length: node.length, granularity: 4096, recording: false)
            _ = try await node.bytes(0..<1 << 20)
            _ = try await node.blockStatus(0..<1 << 20)
            try await node.flush()
            #expect(bitmap.snapshot().isClean)
            try await node.write([1], at: 4096)
            try await node.writeZeroes(12_288..<12_289)
            try await node.discard(20_480..<20_481)
            driver.fail(.write)
            let error = await failure { () async throws(Errno) in try await node.write([1], at: 28_672) }
            #expect(error == .EIO)
            let dirty = Array(bitmap.snapshot().dirtyAreas)
            #expect(dirty == [4096..<8192, 12_288..<16_384, 20_480..<24_576, 28_672..<32_768])
            #expect(idle.snapshot().isClean)
            await graph.closeAll()
        }
    }

    @Test func `bitmaps grow with the node, and never shrink by writers that come back late`() async throws {
        try await withLoops(3) { loops in
            let graph = BlockGraph()
            let driver = MemoryDriver([], abilities: Self.aligned(1) { $0.grows = true })
            let node = try await on(loops[0]) { () async throws(BlockError) in
                try await graph.openMemory("n", driver, isOwnedByMonitor: true)
            }
            let bitmap = try node.bitmaps.add(name: "b", length: 0, granularity: 512)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for index in 0..<300 as Range<Int64> {
                    group.addTask(executorPreference: loops[Int(index) % loops.count]) {
                        try await node.write(pattern(512, 1), at: index * 512)
                    }
                }
                try await group.waitForAll()
            }
            #expect(bitmap.length == 300 * 512)
            #expect(Array(bitmap.snapshot().dirtyAreas) == [0..<300 * 512])
            await graph.closeAll()
        }
    }

    @Test func `the write threshold tells once, by how much, and is then unset`() async throws {
        try await onLoop { () async throws(any Error) in
            let events = Locked<[String]>([])
            let graph = BlockGraph { event in
                guard case .writeThreshold(let node, let threshold, let amount) = event else { return }
                events.withLock { $0.append("\(node.name) \(threshold) \(amount)") }
            }
            let node = try await graph.openMemory("n", MemoryDriver(pattern(8192, 1)), isOwnedByMonitor: true)
            node.statistics.setWriteThreshold(4096)
            try await node.write(pattern(4096, 2), at: 0)
            #expect(events.value == [])
            try await node.write(pattern(10, 2), at: 4090)
            #expect(events.value == ["n 4096 4"])
            #expect(node.statistics.writeThreshold == 0)
            try await node.write(pattern(4096, 2), at: 4096)
            #expect(events.value.count == 1)
            #expect(node.statistics.writeHighestOffset == 8192)
            await graph.closeAll()
        }
    }

    @Test func `force unit access flushes where the driver does not see to it`() async throws {
        try await onLoop { () async throws(any Error) in
            for handles in [false, true] {
                let graph = BlockGraph()
                let driver = MemoryDriver(
                    pattern(4096, 1), abilities: Self.aligned(512) { $0.writeFlags = handles ? .forceUnitAccess : [] })
                let node = try await graph.openMemory("n", driver, isOwnedByMonitor: true)
                let user = try await graph.attachWriter(node)
                try await user.write(pattern(512, 2), at: 0, flags: .forceUnitAccess)
                try await user.writeZeroes(512..<1024, flags: .forceUnitAccess)
                try await user.write([3], at: 7, flags: .forceUnitAccess)
                try await user.writeZeroes(10..<11, flags: .forceUnitAccess)
                let flushes = driver.requests.filter { $0.operation == .flush }.count
                #expect(flushes == (handles ? 0 : 4))
                user.isWriteThrough = true
                try await user.write(pattern(512, 2), at: 0)
                #expect(driver.requests.filter { $0.operation == .flush }.count == (handles ? 0 : 5))
                await graph.detach(user)
                await graph.closeAll()
            }
        }
    }

    @Test func `a flush with nothing to flush is none, and a failed one is tried again`() async throws {
        try await onLoop { () async throws(any Error) in
            let graph = BlockGraph()
            let driver = MemoryDriver(pattern(4096, 1))
            let node = try await graph.openMemory("n", driver, isOwnedByMonitor: true)
            try await node.flush()
            #expect(driver.requests == [])
            try await node.write([1], at: 0)
            driver.fail(.flush, count: 1)
            let error = await failure { () async throws(Errno) in try await node.flush() }
            #expect(error == .EIO)
            try await node.flush()
            try await node.flush()
            #expect(driver.requests.filter { $0.operation == .flush }.count == 2)
            await graph.closeAll()
        }
    }
}
