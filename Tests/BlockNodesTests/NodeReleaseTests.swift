import BlockDrivers
import BlockGraph
import IOLoop
import JSON
import QAPI
import QMPSchema
import StorageTestSupport
import Testing

@testable import BlockNodes

/// Closed nodes give their memory back.
@Suite struct NodeReleaseTests {
    /// A node that may be gone.
    private final class Reference {
        weak var node: BlockNode?
        let name: String
        init(_ node: BlockNode) {
            self.node = node
            name = "\(node.name) (\(node.driver.driverName))"
        }
    }

    @Test func `closed nodes of every kind are freed`() async throws {
        try await NodeFixture.run { fixture in
            let file = try fixture.makeFile("file", [1, 2, 3], length: 1 << 20)
            _ = try fixture.makeFile("base.img", [], length: 1 << 20)
            let overlay = try await fixture.makeImage("overlay.q", backing: "base.img", format: "raw")
            let split = try await fixture.makeImage("split.q", dataFile: "split.data")
            let scratch = try await fixture.makeImage("scratch.q")
            let group = try ThrottleGroup(name: "group")
            let factory = NodeFactory(graph: fixture.graph) { _ in group }
            let definitions: [JSON] = [
                ["driver": "file", "node-name": "file", "filename": .string(file)],
                ["driver": "null-co", "node-name": "null", "size": 1_048_576],
                ["driver": "blkdebug", "node-name": "blkdebug", "image": "file"],
                ["driver": "throttle", "node-name": "throttle", "throttle-group": "group", "file": "blkdebug"],
                ["driver": "raw", "node-name": "raw", "file": "throttle"],
                ["driver": "qcow2", "node-name": "scratch", "file": ["driver": "file", "filename": .string(scratch)]],
                ["driver": "copy-before-write", "node-name": "cbw", "file": "raw", "target": "scratch"],
                ["driver": "snapshot-access", "node-name": "access", "file": "cbw"],
                ["driver": "qcow2", "node-name": "overlay", "file": ["driver": "file", "filename": .string(overlay)]],
                ["driver": "qcow2", "node-name": "split", "file": ["driver": "file", "filename": .string(split)]],
            ]
            for definition in definitions {
                let options = try BlockdevOptions(decoding: QAPIValue(definition))
                _ = try await factory.open(options, isRoot: true)
            }
            let references = fixture.graph.nodes.map(Reference.init)
            #expect(references.count > definitions.count)
            await fixture.graph.closeAll()
            #expect(fixture.graph.nodes.isEmpty)
            #expect(references.filter { $0.node != nil }.map(\.name) == [])
        }
    }

    @Test func `a node whose opening fails is freed`() async throws {
        try await NodeFixture.run { fixture in
            let image = try fixture.makeFile("no image", [1], length: 65536)
            let definition: JSON = [
                "driver": "qcow2", "node-name": "q",
                "file": ["driver": "file", "node-name": "inner", "filename": .string(image)],
            ]
            let reference = try await Self.failToOpen(definition, fixture)
            #expect(reference.node == nil)
        }
    }

    @GraphActor private static func failToOpen(
        _ definition: JSON, _ fixture: NodeFixture
    ) async throws -> Reference {
        // The file is opened by itself, so that somebody knows it.
        guard case .object(let members) = definition, let inner = members["file"] else { throw QMPError("no file") }
        let node = try await fixture.factory.open(
            try BlockdevOptions(decoding: QAPIValue(inner)), isRoot: true)
        let reference = Reference(node)
        var outer = members
        outer["file"] = "inner"
        let options = try BlockdevOptions(decoding: QAPIValue(.object(outer)))
        await #expect(throws: BlockError.self) { _ = try await fixture.factory.open(options, isRoot: true) }
        try await fixture.graph.delete(node)
        return reference
    }
}
