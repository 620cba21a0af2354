import BlockGraph
import BlockTestSupport
import IOLoop
import StorageTestSupport
import Testing

@testable import BlockJobs

/// A job that only waits.
@GraphActor
private final class IdleJob: JobBody {
    func run(_ job: Job) async throws(BlockError) { await job.wait(until: { false }) }
}

/// A graph with two disks in memory, and a job.
@GraphActor
private final class Rig {
    let graph = BlockGraph()
    private(set) var events: [String] = []
    private let changes = WaitQueue()
    private(set) lazy var list = JobList { [unowned self] event in
        if case .statusChange(_, let status) = event { events.append(status.rawValue) }
        changes.notifyAll()
    }

    func open(_ name: String) async throws(BlockError) -> BlockNode {
        try await graph.open(name: name, options: NodeOptions(), isOwnedByMonitor: true) { _ in
            MemoryDriver([UInt8](repeating: 1, count: 65536))
        }
    }

    func makeJob() throws(BlockError) -> Job {
        var options = Job.Options(id: "j", type: .backup)
        options.isBlockJob = true
        return try list.create(options, body: IdleJob())
    }

    func waitForEnd() async { await changes.wait(until: { events.last == "null" }) }

    nonisolated static func run(_ body: @escaping @Sendable @GraphActor (Rig) async throws -> Void) async throws {
        startMainLoop()
        let task = GraphActor.spawn { () async -> Result<Void, any Error> in
            do {
                return .success(try await body(Rig()))
            } catch {
                return .failure(error)
            }
        }
        try await task.value.get()
    }
}

@Suite struct JobNodesTests {
    private static let busy = "Node 'a' is busy: block device is in use by block job: backup"

    private static func errorText(_ body: @GraphActor () async throws(BlockError) -> Void) async -> String? {
        do {
            try await body()
            return nil
        } catch {
            return error.description
        }
    }

    @Test func `nodes of a job are busy until it lets go of them`() async throws {
        try await Rig.run { rig in
            let node = try await rig.open("a")
            let job = try rig.makeJob()
            try job.nodes.add(node, as: "main node", allowing: [.resize])
            #expect(
                await Self.errorText { () throws(BlockError) in try node.checkNotBlocked(for: .stream) } == Self.busy)
            try node.checkNotBlocked(for: .resize)
            #expect(
                await Self.errorText { () async throws(BlockError) in try await rig.graph.delete(node) } == Self.busy)
            await rig.list.discard(job)
            #expect(rig.events == ["created", "null"])
            #expect(rig.graph.backends.isEmpty)
            try node.checkNotBlocked(for: .stream)
            try await rig.graph.delete(node)
        }
    }

    @Test func `a conflict names the job and what it calls the node`() async throws {
        try await Rig.run { rig in
            let node = try await rig.open("a")
            let job = try rig.makeJob()
            let shared: BlockPermissions = [.consistentRead]
            try job.nodes.add(node, as: "intermediate node", permissions: PermissionPair(used: [], shared: shared))
            let text = """
                Permission conflict on node 'a': permissions 'write' are both required by guest (uses node 'a' as \
                'root' child) and unshared by backup job 'j' (uses node 'a' as 'intermediate node' child).
                """
            let error = await Self.errorText { () throws(BlockError) in
                _ = try rig.graph.attach("guest", to: node, permissions: PermissionPair(used: .write))
            }
            #expect(error == text)
            await rig.list.discard(job)
            await rig.graph.closeAll()
        }
    }

    @Test func `a job is paused in drained sections, and made within one starts paused`() async throws {
        try await Rig.run { rig in
            let (node, other) = (try await rig.open("a"), try await rig.open("b"))
            let job = try await rig.graph.drained([node]) { () async throws(BlockError) in
                let job = try rig.makeJob()
                try job.nodes.add(node, as: "main node")
                try job.nodes.add(other, as: "target")
                rig.list.start(job)
                return job
            }
            #expect(rig.events == ["created", "running", "paused", "running"])
            try await rig.graph.drained([node, other]) { () async throws(BlockError) in
                #expect(job.status == .paused)
                try await rig.graph.drained([other]) { () async throws(BlockError) in }
                #expect(job.status == .paused)
            }
            #expect(rig.events.suffix(2) == ["paused", "running"] && rig.events.count == 6)
            try job.pause()
            try await rig.graph.drained([node]) { () async throws(BlockError) in }
            #expect(job.status == .paused)
            try await job.cancel(force: true)
            await rig.waitForEnd()
            #expect(rig.events.suffix(5) == ["paused", "running", "aborting", "concluded", "null"])
            #expect(rig.graph.backends.isEmpty)
            await rig.graph.closeAll()
        }
    }
}
