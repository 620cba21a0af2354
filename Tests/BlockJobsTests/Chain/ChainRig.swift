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

/// A chain of image files, and the jobs that shorten it.
@GraphActor
final class ChainRig {
    /// What a test makes of a chain.
    struct Shape: Sendable {
        var depth = 3
        var length = 1 << 20
        /// The node whose file fails once, at which event, and with which error.
        var fault: (layer: Int, event: String, errno: Errno)?
    }

    let directory = TemporaryDirectory()
    let graph = BlockGraph()
    let shape: Shape
    /// The nodes, the lowest first. The uppermost is writable.
    private(set) var layers: [BlockNode] = []
    /// What the uppermost one shows.
    private(set) var view: [UInt8] = []
    private(set) var events: [JobEvent] = []
    private let changes = WaitQueue()
    private let turns = AsyncMutex()
    private(set) lazy var jobs = JobList { [unowned self] event in
        events.append(event)
        changes.notifyAll()
    }
    private var isBottomRaw = false

    var factory: NodeFactory { NodeFactory(graph: graph) }
    var top: BlockNode { layers[layers.count - 1] }

    /// Makes the files, with random lengths and contents, and opens them.
    init(_ shape: Shape, random: inout SeededGenerator) async throws {
        self.shape = shape
        jobs.turn = { [turns] body in
            await turns.lock()
            await body()
            turns.unlock()
        }
        isBottomRaw = Bool.random(using: &random) && shape.depth > 1
        for level in 0..<shape.depth { try await make(level, &random) }
        for level in 0..<shape.depth { layers.append(try await open(level, fault: shape.fault, readOnly: true)) }
        try await setReadOnly(false, top)
    }

    func path(_ level: Int) -> String { directory.file("layer\(level)") }

    private func make(_ level: Int, _ random: inout SeededGenerator) async throws {
        let isTop = level == shape.depth - 1
        let sectors = shape.length / 512
        let size =
            isTop || Bool.random(using: &random)
            ? shape.length : Int.random(in: 1...sectors * 3 / 2, using: &random) * 512
        let isRaw = level == 0 && isBottomRaw
        try await FileCreator.create(FileCreationOptions(filename: path(level), size: isRaw ? Int64(size) : 0))
        if !isRaw {
            let file = try await factory.open(
                options(.object(["driver": "file", "filename": .string(path(level))])), isRoot: false)
            var creation = Qcow2CreationOptions(size: Int64(size))
            creation.clusterSize = Int64(512 << Int.random(in: 3...7, using: &random))
            creation.extendedL2 = creation.clusterSize >= 16384 && Bool.random(using: &random)
            if level > 0 {
                creation.backingFile = "layer\(level - 1)"
                creation.backingFormat = level == 1 && isBottomRaw ? "raw" : "qcow2"
            }
            try await Qcow2Creator.create(creation, file: file)
            await graph.closeIfUnused(file)
        }
        view = Array((view + [UInt8](repeating: 0, count: max(0, size - view.count))).prefix(size))
        var nodes: [BlockNode] = []
        for below in 0...level {
            nodes.append(try await open(below, nodes: nodes, fault: nil, readOnly: below < level))
        }
        try await fill(nodes[level], operations: Int.random(in: 0...(isTop ? 5 : 12), using: &random), &random)
        for node in nodes.reversed() { try await graph.delete(node) }
    }

    private func open(
        _ level: Int, nodes: [BlockNode]? = nil, fault: (layer: Int, event: String, errno: Errno)?, readOnly: Bool
    ) async throws -> BlockNode {
        var file: JSONObject = ["driver": "file", "filename": .string(path(level))]
        if let fault, fault.layer == level {
            file = [
                "driver": "blkdebug", "image": .object(file),
                "inject-error": .array([
                    .object([
                        "event": .string(fault.event), "errno": .integer(Int64(fault.errno.rawValue)), "once": true,
                    ])
                ]),
            ]
        }
        let isRaw = level == 0 && isBottomRaw
        var node: JSONObject = [
            "driver": isRaw ? "raw" : "qcow2", "node-name": .string("layer\(level)"), "file": .object(file),
            "read-only": .bool(readOnly), "discard": "unmap",
        ]
        if !isRaw { node["backing"] = level == 0 ? .null : .string((nodes ?? layers)[level - 1].name) }
        return try await factory.open(options(.object(node)), isRoot: true)
    }

    private func setReadOnly(_ isReadOnly: Bool, _ node: BlockNode) async throws {
        guard !isReadOnly else { return }
        _ = try await factory.makeWritable(node)
    }

    private nonisolated func options(_ json: JSON) throws -> BlockdevOptions {
        guard case .object(let object) = json else { throw BlockError("no options") }
        return try BlockdevOptions(decoding: object)
    }

    /// Writes, zeroes and discards at random.
    private func fill(_ node: BlockNode, operations: Int, _ random: inout SeededGenerator) async throws {
        let backend = try graph.attachWriter(node)
        let size = Int(node.length)
        for _ in 0..<operations {
            let start = Int.random(in: 0..<size, using: &random)
            let count = Int.random(in: 1...max(1, min(size - start, size / 3)), using: &random)
            let range = Int64(start)..<Int64(start + count)
            switch Int.random(in: 0..<6, using: &random) {
            case 0, 1, 2: try await backend.write(random.bytes(count), at: Int64(start))
            case 3: try await backend.write([UInt8](repeating: 0, count: count), at: Int64(start))
            case 4: try await backend.writeZeroes(range, flags: .mayUnmap)
            default: try await backend.discard(range)
            }
        }
        try await backend.flush()
        view = try await node.bytes(0..<node.length)
        graph.release(backend)
    }

    // MARK: Jobs

    /// Does what a command does, while no job does its last step.
    func command<Result>(_ body: @GraphActor () async throws -> Result) async rethrows -> Result {
        await turns.lock()
        defer { turns.unlock() }
        return try await body()
    }

    /// Waits until an event fulfils the condition.
    func wait(for condition: (JobEvent) -> Bool) async {
        await changes.wait(until: { events.contains(where: condition) })
    }

    /// Waits until the condition holds; it is looked at after each event.
    func waitForChange(_ condition: () -> Bool) async { await changes.wait(until: condition) }

    /// Waits until the job is in a state, or over.
    func wait(for job: Job, _ status: BlockJobs.JobStatus) async {
        await changes.wait(until: { job.status == status || job.status.isOver })
    }

    // MARK: The end

    /// Checks what the disk shows, and that nothing of a job is left; closes everything, and checks the files.
    func verify(_ expected: [UInt8], backing: Int?, of level: Int, _ comment: String) async throws {
        // An error that has been waiting all the time is none of the disk.
        _ = try? await top.bytes(0..<top.length)
        let found = try await top.bytes(0..<top.length)
        #expect(found == expected, "\(comment): the disk")
        await close()
        let tool = try #require(installedPrograms("qemu-img").last)
        let log = directory.file("log")
        for level in 0..<shape.depth where level > 0 || !isBottomRaw {
            let (status, text) = run([tool, "check", "-f", "qcow2", path(level)], output: log)
            #expect(status == 0 && text.contains("No errors were found"), "\(comment): layer \(level): \(text)")
        }
        let info = run([tool, "info", "-f", "qcow2", path(level)], output: log).output
        let name = info.split(separator: "\n").first { $0.hasPrefix("backing file: ") }
        let expectedName = backing.map { "layer\($0)" }
        #expect(name.map { $0.contains(expectedName ?? "no name") } ?? (backing == nil), "\(comment): \(name ?? "")")
        // As the headers say.
        let whole = try await factory.open(
            options(
                .object([
                    "driver": "qcow2", "node-name": "again", "read-only": true,
                    "file": .object(["driver": "file", "filename": .string(path(shape.depth - 1))]),
                ])), isRoot: true)
        let again = try await whole.bytes(0..<whole.length)
        #expect(again == expected, "\(comment): the disk as the headers say")
        await close()
    }

    func close() async {
        for backend in graph.backends { await graph.detach(backend) }
        await graph.closeAll()
    }
}
