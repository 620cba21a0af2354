import BlockGraph
import IOLoop
import StorageTestSupport
import Synchronization
import Testing

@testable import BlockDrivers

@Suite struct ThrottleDriverTests {
    /// A throttled node above a disk in memory, on a clock that stands still.
    @GraphActor
    struct Setup {
        let clock: ManualClock
        let group: ThrottleGroup
        let disk = MemoryDisk(length: 1 << 16)
        let node: BlockNode
        let backend: BlockBackend

        init(_ fixture: GraphFixture, _ members: [(name: String, value: Int64)]) async throws {
            let clock = ManualClock()
            self.clock = clock
            group = try ThrottleGroup(name: "g", clock: clock)
            try group.update(members)
            let file = try await fixture.open("file", disk)
            node = try await Self.open(fixture, "throttled", group, file)
            backend = try fixture.backend(node)
        }

        static func open(
            _ fixture: GraphFixture, _ name: String, _ group: ThrottleGroup, _ file: BlockNode
        ) async throws(BlockError) -> BlockNode {
            try await fixture.graph.open(name: name, options: NodeOptions(), isOwnedByMonitor: true) { node in
                ThrottleDriver.open(ThrottleNodeConfiguration(group: group), in: node, file: file)
            }
        }

        /// Starts a write of the number at its place, and returns when it waits or is done.
        func write(_ number: UInt8, on backend: BlockBackend? = nil, waiting: Int) async -> Task<Errno?, Never> {
            let backend = backend ?? self.backend
            // All on one loop: on several threads requests that are let through together may overtake each other.
            let task = Task(executorPreference: IOLoop.main) {
                await errno { () async throws(Errno) in
                    try await backend.writeBytes([number], at: Int64(number) * 512)
                }
            }
            await wait { group.waitingCount == waiting }
            return task
        }

        /// The places that have been written, in order.
        var written: [Int64] { disk.requests.filter { $0.kind == .write }.map { $0.range.lowerBound / 512 } }
    }

    @Test func `requests wait for the clock, in order`() async throws {
        try await GraphFixture.run { fixture in
            let setup = try await Setup(fixture, [("iops-write", 10)])
            var tasks: [Task<Errno?, Never>] = []
            tasks.append(await setup.write(0, waiting: 0))
            _ = await tasks[0].value
            tasks.append(await setup.write(1, waiting: 0))
            _ = await tasks[1].value
            for number: UInt8 in 2...5 { tasks.append(await setup.write(number, waiting: Int(number) - 1)) }
            #expect(setup.written == [0, 1])
            _ = try await setup.backend.readBytes(0..<1)
            await wait { setup.clock.sleeperCount == 1 }
            for number: Int64 in 2...5 {
                setup.clock.advance(by: .milliseconds(100))
                await wait { setup.written == Array(0...number) }
                await wait { setup.clock.sleeperCount == (number < 5 ? 1 : 0) }
            }
            for task in tasks { #expect(await task.value == nil) }
            #expect(setup.group.waitingCount == 0)
        }
    }

    @Test func `nodes of a group take turns`() async throws {
        try await GraphFixture.run { fixture in
            let setup = try await Setup(fixture, [("iops-total", 10)])
            let second = try await Setup.open(fixture, "second", setup.group, setup.node.driver.filteredNode)
            let other = try fixture.backend(second)
            _ = await setup.write(0, waiting: 0).value
            _ = await setup.write(1, waiting: 0).value
            var tasks: [Task<Errno?, Never>] = []
            for number: UInt8 in 10...12 { tasks.append(await setup.write(number, waiting: Int(number) - 9)) }
            for number: UInt8 in 20...22 {
                tasks.append(await setup.write(number, on: other, waiting: Int(number) - 16))
            }
            await wait { setup.clock.sleeperCount == 1 }
            for count in 3...8 {
                setup.clock.advance(by: .milliseconds(100))
                await wait { setup.written.count == count }
                await wait { setup.clock.sleeperCount == (count < 8 ? 1 : 0) }
            }
            #expect(setup.written == [0, 1, 10, 20, 11, 21, 12, 22])
            for task in tasks { #expect(await task.value == nil) }
        }
    }

    @Test func `draining lets the queue through, and it fills again afterwards`() async throws {
        try await GraphFixture.run { fixture in
            let setup = try await Setup(fixture, [("iops-total", 10)])
            var tasks = [await setup.write(0, waiting: 0)]
            _ = await tasks[0].value
            tasks.append(await setup.write(1, waiting: 0))
            _ = await tasks[1].value
            for number: UInt8 in 2...4 { tasks.append(await setup.write(number, waiting: Int(number) - 1)) }
            try await fixture.graph.drained([setup.node]) { () async throws(BlockError) in
                #expect(setup.written == [0, 1, 2, 3, 4])
                #expect(setup.group.waitingCount == 0)
            }
            for task in tasks { #expect(await task.value == nil) }
            let late = await setup.write(5, waiting: 1)
            #expect(setup.written.count == 5)
            try setup.group.update([("iops-total", 0)])
            #expect(await late.value == nil)
            await wait { setup.clock.sleeperCount == 0 }
        }
    }

    @Test func `a change of the limits takes effect on those who wait`() async throws {
        try await GraphFixture.run { fixture in
            let setup = try await Setup(fixture, [("bps-write", 1)])
            _ = await setup.write(0, waiting: 0).value
            let slow = await setup.write(1, waiting: 1)
            try setup.group.update([("bps-write", 1_000_000)])
            #expect(await slow.value == nil)
            await wait { setup.clock.sleeperCount == 0 }
        }
    }

    @Test func `a cancelled request keeps its place and is done`() async throws {
        try await GraphFixture.run { fixture in
            let setup = try await Setup(fixture, [("bps-write", 1)])
            _ = await setup.write(0, waiting: 0).value
            let task = await setup.write(1, waiting: 1)
            task.cancel()
            #expect(setup.group.waitingCount == 1)
            await wait { setup.clock.sleeperCount == 1 }
            setup.clock.advance(by: .seconds(1))
            #expect(await task.value == nil)
            #expect(setup.written == [0, 1])
        }
    }

    @Test func `reads, zeroes and discards are counted, flushes are not`() async throws {
        try await GraphFixture.run { fixture in
            var options = NodeOptions()
            options.discard = .unmap
            let clock = ManualClock()
            let group = try ThrottleGroup(name: "g", clock: clock)
            try group.update([("bps-read", 1000), ("bps-write", 1000)])
            let file = try await fixture.open("file", options: options, MemoryDisk(length: 1 << 16))
            let node = try await fixture.graph.open(name: "t", options: options, isOwnedByMonitor: true) { node in
                ThrottleDriver.open(ThrottleNodeConfiguration(group: group), in: node, file: file)
            }
            let backend = try fixture.backend(node)
            /// Whether a write has to wait after the body.
            func waits(_ body: () async throws -> Void) async throws -> Bool {
                clock.advance(by: .seconds(100))
                try await body()
                let isDone = Flag()
                let probe = Task {
                    try? await backend.writeBytes([1], at: 0)
                    isDone.isSet = true
                }
                await wait { group.waitingCount == 1 || isDone.isSet }
                let waited = group.waitingCount == 1
                clock.advance(by: .seconds(100))
                await probe.value
                return waited
            }
            #expect(try await waits { try await backend.writeZeroes(0..<4096) })
            #expect(try await waits { try await backend.discard(0..<4096) })
            #expect(try await waits { try await backend.writeBytes([UInt8](repeating: 1, count: 4096), at: 0) })
            #expect(try await !waits { _ = try await backend.readBytes(0..<4096) })
            #expect(try await !waits { try await backend.flush() })
        }
    }

    @Test func `a reopening moves a node to another group`() async throws {
        try await GraphFixture.run { fixture in
            let setup = try await Setup(fixture, [])
            let other = try ThrottleGroup(name: "other", clock: setup.clock)
            #expect(setup.group.isInUse && !other.isInUse)
            try await fixture.graph.reopen([
                ReopenItem(
                    node: setup.node, options: setup.node.options,
                    driverOptions: ThrottleNodeConfiguration(group: other), sourceOptions: nil, newChildren: [])
            ])
            #expect(!setup.group.isInUse && other.isInUse)
            try await setup.backend.writeBytes([1], at: 0)
            #expect(
                setup.node.driver.filename(of: setup.node)
                    == #"json:{"throttle-group": "other", "driver": "throttle", "#
                    + #""file": {"driver": "memory", "filename": "memory.img"}}"#)
        }
    }

    @Test func `a group is in use while a node is in it`() async throws {
        try await GraphFixture.run { fixture in
            let setup = try await Setup(fixture, [])
            #expect(setup.group.isInUse)
            await fixture.graph.detach(setup.backend)
            try await fixture.graph.delete(setup.node)
            #expect(!setup.group.isInUse)
        }
    }
}

extension BlockDriver {
    /// The node that a filter shows.
    var filteredNode: BlockNode {
        guard let filteredChild else { fatalError("not a filter") }
        return filteredChild.node
    }
}

/// Something that a task tells another one.
private final class Flag: Sendable {
    private let value = Atomic(false)

    var isSet: Bool {
        get { value.load(ordering: .acquiring) }
        set { value.store(newValue, ordering: .releasing) }
    }
}

/// Returns when the condition holds; what it waits for is under way on loops.
func wait(_ condition: @escaping () -> Bool) async {
    while !condition() { await Task.yield() }
}
