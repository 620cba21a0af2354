import BlockExports
import BlockGraph
import Glibc
import IOLoop
import StorageTestSupport

extension NBDServer.Limits {
    /// No time limit for the handshake: the loop of the tests may be busy with other tests.
    static var patient: Self {
        var limits = Self()
        limits.handshakeMaximumSeconds = 0
        return limits
    }
}

/// A graph with one node in memory, exported as "disk" by a server at a Unix socket.
struct NBDFixture: Sendable {
    let graph: BlockGraph
    let driver: MemoryDriver
    let node: BlockNode
    let list: BlockExportList
    let server: NBDServer
    let directory: TemporaryDirectory

    var path: String { directory.file("s") }

    /// Sets everything up, calls `body` on the tests' loop, and takes everything down.
    static func run(
        size: Int = 1 << 20, alignment: Int64 = 1, isFastZero: Bool = true, limits: NBDServer.Limits = .patient,
        configure: @escaping @Sendable @GraphActor (BlockNode, inout NBDExportOptions) -> Void = {
            $1.isWritable = true
        },
        _ body: @escaping @Sendable (NBDFixture) async throws -> Void
    ) async throws {
        try await onLoop {
            let fixture = try await make(size, alignment, isFastZero, limits, configure)
            // Swift 6.3 goes on with an async call on the actor's thread; synchronous work makes it come back first.
            precondition(IOLoop.current !== IOLoop.main)
            do {
                try await body(fixture)
            } catch {
                await fixture.tearDown()
                throw error
            }
            await fixture.tearDown()
        }
    }

    @GraphActor
    private static func make(
        _ size: Int, _ alignment: Int64, _ isFastZero: Bool, _ limits: NBDServer.Limits,
        _ configure: @GraphActor (BlockNode, inout NBDExportOptions) -> Void
    ) async throws -> NBDFixture {
        let graph = BlockGraph()
        let driver = MemoryDriver(size: size, alignment: alignment, isFastZero: isFastZero)
        var nodeOptions = NodeOptions()
        nodeOptions.discard = .unmap
        let node = try await graph.open(name: "n", options: nodeOptions, isOwnedByMonitor: true) { _ in driver }
        let list = BlockExportList()
        let server = NBDServer(exports: list)
        let directory = TemporaryDirectory()
        try await server.start(at: .unix(path: directory.file("s")), limits)
        var options = NBDExportOptions(id: "e", node: node)
        options.name = "disk"
        configure(node, &options)
        try server.export(options)
        return NBDFixture(
            graph: graph, driver: driver, node: node, list: list, server: server, directory: directory)
    }

    @GraphActor
    private func tearDown() async {
        driver.releaseAll()
        try? await server.stop()
        await list.removeAll()
        await graph.closeAll()
    }

    /// The sockets of this process at the server's path: those of the listener and of clients not yet closed.
    var openSockets: Int {
        guard let file = fopen("/proc/net/unix", "r") else { return -1 }
        defer { fclose(file) }
        var count = 0
        var line = [CChar](repeating: 0, count: 512)
        while fgets(&line, Int32(line.count), file) != nil {
            let text = String(
                decoding: line.prefix { $0 != 0 && $0 != 10 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            if text.hasSuffix(" " + path) { count += 1 }
        }
        return count
    }

    /// Waits until all clients have gone.
    func waitUntilAlone() async throws {
        for _ in 0..<5000 {
            if await server.connectionCount == 0 { return }
            try await IOLoop.sleep(for: .milliseconds(1))
        }
        throw NBDTestFailure("clients are left")
    }
}
