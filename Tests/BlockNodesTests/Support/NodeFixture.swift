import BlockGraph
import BlockNodes
import Glibc
import IOLoop
import StorageTestSupport
import Testing

/// A graph, a factory and a directory for one test; all nodes are closed at its end.
@GraphActor
final class NodeFixture {
    let graph = BlockGraph()
    let directory = TemporaryDirectory()
    var factory: NodeFactory { NodeFactory(graph: graph) }

    /// Options of a node for reading.
    var readOnly: NodeOptions {
        var options = NodeOptions()
        options.isReadOnly = true
        return options
    }

    /// Runs a test on the control plane.
    nonisolated static func run(_ body: @escaping @Sendable @GraphActor (NodeFixture) async throws -> Void) async throws
    {
        startMainLoop()
        try await inside(body)
    }

    private static func inside(_ body: @Sendable @GraphActor (NodeFixture) async throws -> Void) async throws {
        let fixture = NodeFixture()
        var failure: (any Error)?
        do {
            try await body(fixture)
        } catch {
            failure = error
        }
        await fixture.graph.closeAll()
        #expect(fixture.graph.nodes.isEmpty)
        if let failure { throw failure }
    }

    /// How many files of the directory the process has open.
    var openFileCount: Int {
        (0..<4096).count { number in
            var target = [CChar](repeating: 0, count: 4096)
            let count = readlink("/proc/self/fd/\(number)", &target, target.count - 1)
            guard count > 0 else { return false }
            return target[..<count].map { UInt8(bitPattern: $0) }.starts(with: directory.path.utf8)
        }
    }

    /// Makes a file that starts with the given bytes.
    func makeFile(_ name: String, _ start: [UInt8] = [], length: Int = 65536) throws -> String {
        let path = directory.file(name)
        let file = try #require(fopen(path, "w"))
        defer { fclose(file) }
        #expect(fwrite(start, 1, start.count, file) == start.count)
        #expect(ftruncate(fileno(file), length) == 0)
        return path
    }

    /// What is said when an image is opened; empty where it opens.
    func error(named name: String, format: String? = nil) async -> String {
        await text { () async throws(BlockError) in
            _ = try await self.factory.openImage(named: name, format: format, options: self.readOnly)
        }
    }

    /// What is said when an image is opened; empty where it opens.
    func error(options: String) async -> String {
        await text { () async throws(BlockError) in
            _ = try await self.factory.openImage(options: options, options: self.readOnly)
        }
    }

    private func text(_ body: @GraphActor () async throws(BlockError) -> Void) async -> String {
        do throws(BlockError) {
            try await body()
            return ""
        } catch {
            return error.description
        }
    }
}
