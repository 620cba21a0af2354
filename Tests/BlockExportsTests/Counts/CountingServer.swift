import BlockDrivers
import BlockExports
import BlockGraph
import Glibc
import IOLoop
import NBDProtocol
import StorageTestSupport

/// A disk in memory that a server on a loop of its own exports, and the counts of that loop's thread.
struct CountingServer: Sendable {
    /// What is exported.
    enum Disk: String, CaseIterable, Sendable {
        /// A raw file.
        case raw
        /// A qcow2 image all of whose clusters are allocated.
        case qcow2
        /// A raw file under a copy-before-write filter that has copied all of it.
        case copiedBeforeWrite = "copy-before-write, second touch"
    }

    /// The bytes of a disk.
    static let size = 16 << 20

    let graph: BlockGraph
    let server: NBDServer
    let loop: IOLoop
    let counter: LoopCounter
    let directory: TemporaryDirectory

    var path: String { directory.file("s") }

    /// Sets everything up with one export of a disk on each of `loops` loops, "disk0" and so on, calls `body`, and takes
    /// everything down.
    static func run(
        _ disk: Disk, loops: Int = 1, _ body: @escaping @Sendable ([CountingServer]) async throws -> Void
    ) async throws {
        startMainLoop()
        let all = try (0..<loops).map { try IOLoop(name: "served-\($0)") }
        for loop in all { loop.start() }
        defer {
            for loop in all {
                loop.stop()
                loop.join()
            }
        }
        // In memory, so that requests are copying and nothing else.
        let directory = TemporaryDirectory(in: "/dev/shm")
        let graph = BlockGraph()
        let list = await BlockExportList()
        let server = await NBDServer(exports: list)
        var servers: [CountingServer] = []
        for (number, loop) in all.enumerated() {
            try await export(disk, "disk\(number)", directory, graph, server, loop)
            servers.append(
                CountingServer(
                    graph: graph, server: server, loop: loop, counter: await LoopCounter(of: loop),
                    directory: directory))
        }
        let result: Result<Void, any Error>
        do { result = .success(try await body(servers)) } catch { result = .failure(error) }
        await tearDown(server, list, graph)
        try result.get()
    }

    @GraphActor
    private static func tearDown(_ server: NBDServer, _ list: BlockExportList, _ graph: BlockGraph) async {
        try? await server.stop()
        await list.removeAll()
        await graph.closeAll()
    }

    @GraphActor
    private static func export(
        _ disk: Disk, _ name: String, _ directory: TemporaryDirectory, _ graph: BlockGraph, _ server: NBDServer,
        _ loop: IOLoop
    ) async throws {
        let file = try await openFile(directory.file(name), in: graph)
        let node: BlockNode
        switch disk {
        case .raw:
            node = try await graph.open(name: name, options: NodeOptions(), isOwnedByMonitor: true) { node in
                RawDriver.open(RawConfiguration(), in: node, file: file)
            }
        case .qcow2:
            try await Qcow2Creator.create(Qcow2CreationOptions(size: Int64(size)), file: file)
            let header = try await Qcow2Driver.header(of: file)
            node = try await graph.open(name: name, options: NodeOptions(), isOwnedByMonitor: true) { node in
                Qcow2Driver.open(
                    Qcow2Configuration(), in: node, header: header, file: file, dataFile: nil, backing: nil)
            }
        case .copiedBeforeWrite:
            let target = try await openFile(directory.file("\(name)-target"), in: graph)
            node = try await graph.open(name: name, options: NodeOptions(), isOwnedByMonitor: true) {
                (node) async throws(BlockError) in
                try CopyBeforeWriteDriver.open(CopyBeforeWriteConfiguration(), in: node, source: file, target: target)
            }
        }
        if !server.isRunning { try await server.start(at: .unix(path: directory.file("s")), .patient) }
        var options = NBDExportOptions(id: name, node: node)
        options.name = name
        options.isWritable = true
        options.loops = [loop]
        try server.export(options)
    }

    @GraphActor
    private static func openFile(_ path: String, in graph: BlockGraph) async throws -> BlockNode {
        try await FileCreator.create(FileCreationOptions(filename: path, size: Int64(size)))
        return try await graph.open(name: nil, options: NodeOptions(), isOwnedByMonitor: true) {
            (node) async throws(BlockError) in
            try await FileDriver.open(FileConfiguration(filename: path), in: node)
        }
    }
}
