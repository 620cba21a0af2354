import BlockDrivers
import BlockGraph
import BlockNodes
import BlockTestSupport
import IOLoop
import JSON
import QAPI
import QMPSchema
import StorageTestSupport
import Testing

@testable import BlockJobs

/// A disk to be backed up, the image that the backup goes to, and the guest.
@GraphActor
final class BackupRig {
    /// The formats of source and target.
    enum Format: String, CaseIterable, Sendable {
        case raw, qcow2, overlay
    }

    let directory = TemporaryDirectory()
    let graph = BlockGraph()
    let source: BlockNode
    let target: BlockNode
    let guest: BlockBackend
    /// What the target held at the beginning.
    let untouched: [UInt8]
    private(set) var events: [JobEvent] = []
    private let changes = WaitQueue()
    private let turns = AsyncMutex()
    private(set) lazy var jobs = JobList { [unowned self] event in
        events.append(event)
        changes.notifyAll()
    }

    /// Makes the images: a source with random data, and a target that holds something else.
    init(
        source sourceFormat: Format, target targetFormat: Format, isTargetEmpty: Bool = false, length: Int,
        _ random: inout SeededGenerator
    ) async throws {
        let images = Images(graph: graph, directory: directory)
        source = try await images.make("source", sourceFormat, length: length, &random)
        target = try await images.make(
            "target", targetFormat, length: length, isEmpty: isTargetEmpty, &random)
        guest = try graph.attachWriter(source, description: "the guest")
        untouched = try await target.bytes(0..<target.length)
        jobs.turn = { [turns] body in
            await turns.lock()
            await body()
            turns.unlock()
        }
    }

    /// A rig over nodes that are there.
    init(source: MemoryDriver, target: MemoryDriver) async throws {
        var options = NodeOptions()
        options.discard = .unmap
        self.source = try await graph.openMemory("source", source, options: options, isOwnedByMonitor: true)
        self.target = try await graph.openMemory("target", target, options: options, isOwnedByMonitor: true)
        guest = try graph.attachWriter(self.source, description: "the guest")
        untouched = target.bytes
        jobs.turn = { [turns] body in
            await turns.lock()
            await body()
            turns.unlock()
        }
    }

    /// Starts a backup, as a command does.
    func start(_ change: (inout BackupJob.Request) -> Void = { _ in }) async throws -> Job {
        var options = Job.Options(id: "j", type: .backup)
        options.isBlockJob = true
        var request = BackupJob.Request(options, source: source, target: target)
        change(&request)
        let final = request
        return try await command {
            try await graph.drained([source, target]) { () async throws(BlockError) in
                let job = try await BackupJob.create(final, in: jobs)
                jobs.start(job)
                return job
            }
        }
    }

    /// Does what a command does, while no job does its last step.
    func command<Result>(_ body: @GraphActor () async throws -> Result) async rethrows -> Result {
        await turns.lock()
        defer { turns.unlock() }
        return try await body()
    }

    /// Waits until the job is in a state, or over.
    func wait(for job: Job, _ status: BlockJobs.JobStatus) async {
        await changes.wait(until: { job.status == status || job.status.isOver })
    }

    /// Waits for an event.
    func wait(until condition: ([JobEvent]) -> Bool) async { await changes.wait(until: { condition(events) }) }

    /// The statuses that the job has had.
    var statuses: [BlockJobs.JobStatus] {
        events.compactMap { if case .statusChange(_, let status) = $0 { status } else { nil } }
    }

    /// Checks that nothing of a job is left, and closes everything.
    func close(_ comment: String) async {
        #expect(jobs.jobs.isEmpty, "\(comment)")
        #expect(graph.backends.count == 1 && guest.node === source, "\(comment)")
        #expect(!graph.nodes.contains { $0.driver is CopyBeforeWriteDriver }, "\(comment)")
        for backend in graph.backends { await graph.detach(backend) }
        await graph.closeAll()
    }
}

/// Makes image files and opens them.
@GraphActor
private struct Images {
    let graph: BlockGraph
    let directory: TemporaryDirectory

    func make(
        _ name: String, _ format: BackupRig.Format, length: Int, isEmpty: Bool = false,
        _ random: inout SeededGenerator
    ) async throws -> BlockNode {
        switch format {
        case .raw:
            let node = try await open(name, "raw", length: length)
            if !isEmpty { try await fill(node, &random) }
            return node
        case .qcow2:
            let node = try await open(
                name, "qcow2", length: length, clusterSize: 512 << Int.random(in: 3...9, using: &random))
            if !isEmpty { try await fill(node, &random) }
            return node
        case .overlay:
            let base = try await open("\(name)-base", "qcow2", length: length)
            try await fill(base, &random)
            let node = try await open(
                name, "qcow2", length: length, clusterSize: 512 << Int.random(in: 3...9, using: &random),
                backing: base.name)
            if !isEmpty { try await fill(node, &random) }
            return node
        }
    }

    private func open(
        _ name: String, _ driver: String, length: Int, clusterSize: Int = 65536, backing: String? = nil
    ) async throws -> BlockNode {
        let factory = NodeFactory(graph: graph)
        let path = directory.file(name)
        try await FileCreator.create(
            FileCreationOptions(filename: path, size: driver == "raw" ? Int64(length) : 0))
        let file: JSON = ["driver": "file", "filename": .string(path), "discard": "unmap"]
        if driver == "qcow2" {
            let node = try await factory.open(decoded(file), isRoot: false)
            var creation = Qcow2CreationOptions(size: Int64(length))
            creation.clusterSize = Int64(clusterSize)
            try await Qcow2Creator.create(creation, file: node)
            await graph.closeIfUnused(node)
        }
        var options: JSONObject = [
            "driver": .string(driver), "node-name": .string(name), "file": file, "discard": "unmap",
        ]
        if driver == "qcow2" { options["backing"] = backing.map(JSON.string) ?? .null }
        return try await factory.open(decoded(.object(options)), isRoot: true)
    }

    private func decoded(_ json: JSON) throws -> BlockdevOptions {
        guard case .object(let object) = json else { throw BlockError("no options") }
        return try BlockdevOptions(decoding: object)
    }

    /// Writes, zeroes and discards at random.
    private func fill(_ node: BlockNode, _ random: inout SeededGenerator) async throws {
        let backend = try graph.attachWriter(node)
        let size = Int(node.length)
        for _ in 0..<6 {
            let start = Int.random(in: 0..<size, using: &random)
            let count = Int.random(in: 1...max(1, min(size - start, size / 4)), using: &random)
            let range = Int64(start)..<Int64(start + count)
            switch Int.random(in: 0..<4, using: &random) {
            case 0, 1: try await backend.write(random.bytes(count), at: Int64(start))
            case 2: try await backend.writeZeroes(range, flags: .mayUnmap)
            default: try await backend.discard(range)
            }
        }
        try await backend.flush()
        graph.release(backend)
    }
}
