import BlockDrivers
import BlockGraph
import IOLoop
import StorageTestSupport

/// A graph for one test, whose nodes are closed at its end.
@GraphActor
final class GraphFixture {
    let graph: BlockGraph

    private init(_ report: @escaping @Sendable (BlockEvent) -> Void) { graph = BlockGraph(eventSink: report) }

    /// Runs a test on the control plane with a graph of its own, whose events are reported.
    nonisolated static func run<Value: Sendable>(
        reporting report: @escaping @Sendable (BlockEvent) -> Void = { _ in },
        _ body: @escaping @Sendable @GraphActor (GraphFixture) async throws -> Value
    ) async throws -> Value {
        startMainLoop()
        return try await inside(report, body)
    }

    private static func inside<Value: Sendable>(
        _ report: @escaping @Sendable (BlockEvent) -> Void,
        _ body: @Sendable @GraphActor (GraphFixture) async throws -> Value
    ) async throws -> Value {
        let fixture = GraphFixture(report)
        let result: Result<Value, any Error>
        do {
            result = .success(try await body(fixture))
        } catch {
            result = .failure(error)
        }
        for backend in fixture.graph.backends { await fixture.graph.detach(backend) }
        await fixture.graph.closeAll()
        return try result.get()
    }

    /// Opens a node with a driver that needs no children.
    func open(
        _ name: String, options: NodeOptions = NodeOptions(), _ driver: any BlockDriver
    ) async throws(BlockError) -> BlockNode {
        try await graph.open(name: name, options: options, isOwnedByMonitor: true) { _ in driver }
    }

    /// Opens a raw node above a file.
    func openRaw(
        _ name: String, _ configuration: RawConfiguration = RawConfiguration(), file: BlockNode
    ) async throws(BlockError) -> BlockNode {
        try await graph.open(name: name, options: NodeOptions(), isOwnedByMonitor: true) { node in
            RawDriver.open(configuration, in: node, file: file)
        }
    }

    /// A user of the node with all permissions.
    func backend(_ node: BlockNode) throws(BlockError) -> BlockBackend {
        try graph.attach("test", to: node, permissions: PermissionPair(used: [.consistentRead, .write], shared: .all))
    }
}

extension BlockBackend {
    /// The bytes of a range.
    func readBytes(_ range: ByteRange) async throws(Errno) -> [UInt8] {
        let buffer = BufferPool.shared.take(count: Int(range.length))
        defer { BufferPool.shared.give(buffer) }
        buffer.fill(0xEE)
        try await read(range, into: buffer)
        return Array(buffer.bytes)
    }

    /// Writes bytes at an offset.
    func writeBytes(_ bytes: [UInt8], at offset: Int64, flags: WriteFlags = []) async throws(Errno) {
        let buffer = BufferPool.shared.take(count: bytes.count)
        defer { BufferPool.shared.give(buffer) }
        buffer.bytes.copyBytes(from: bytes)
        try await write(offset..<offset + Int64(bytes.count), from: buffer, flags: flags)
    }
}

/// The error of a body, nil where it throws none.
func blockError(_ body: () async throws(BlockError) -> Void) async -> String? {
    do {
        try await body()
        return nil
    } catch {
        return error.description
    }
}

/// The errno of a body, nil where it throws none.
func errno(_ body: () async throws(Errno) -> Void) async -> Errno? {
    do {
        try await body()
        return nil
    } catch {
        return error
    }
}
