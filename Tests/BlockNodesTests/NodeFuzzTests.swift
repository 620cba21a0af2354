import BlockDrivers
import BlockGraph
import Glibc
import IOLoop
import JSON
import QAPI
import QMPSchema
import StorageTestSupport
import Testing

@testable import BlockNodes

/// Random trees of options over real files, some of them broken: whatever opens can be described and closed, and nothing is left.
@Suite
struct NodeFuzzTests {
    private static let files = ["raw.img", "a.q", "o.q", "d.q", "small.q", "broken.q", "nowhere"]
    private static let drivers = [
        "qcow2", "qcow2", "raw", "file", "null-co", "blkdebug", "throttle", "copy-before-write",
    ]
    private static let extras: [(String, [JSON])] = [
        ("read-only", [true, false]), ("lazy-refcounts", [true, false]),
        ("l2-cache-size", [0, 4096, .integer(.max), -1]),
        ("l2-cache-entry-size", [512, 513, 65536]), ("refcount-cache-size", [0, 1_048_576]),
        ("cache-size", [1_048_576]),
        ("cache-clean-interval", [0, -1, 4_294_967_296]), ("overlap-check", ["all", "none", ["template": "all"]]),
        ("offset", [0, 512, -1]), ("size", [512, 65536, .integer(.max)]), ("detect-zeroes", ["unmap", "on"]),
        ("discard", ["unmap", "ignore"]), ("force-share", [true]), ("cache", [["direct": false, "no-flush": true]]),
        ("node-name", ["n", "m", "#x"]), ("pass-discard-other", [true]), ("discard-no-unref", [true]),
    ]

    private static func tree(_ directory: TemporaryDirectory, _ depth: Int, _ random: inout SeededGenerator) -> JSON {
        if Int.random(in: 0..<12, using: &random) == 0 {
            return ["n", "m", "", nil, 1].randomElement(using: &random) ?? nil
        }
        let driver = depth > 3 ? "file" : drivers.randomElement(using: &random) ?? "file"
        var object: JSONObject = [:]
        if Int.random(in: 0..<6, using: &random) > 0 { object["driver"] = .string(driver) }
        switch driver {
        case "file": object["filename"] = .string(directory.file(files.randomElement(using: &random) ?? ""))
        case "null-co": object["size"] = 1_048_576
        case "blkdebug": object["image"] = tree(directory, depth + 1, &random)
        case "copy-before-write":
            object["file"] = tree(directory, depth + 1, &random)
            object["target"] = tree(directory, depth + 1, &random)
        default:
            object["file"] = tree(directory, depth + 1, &random)
            if driver == "throttle" { object["throttle-group"] = "g" }
        }
        if driver == "qcow2" {
            for name in ["backing", "data-file"] where Int.random(in: 0..<4, using: &random) == 0 {
                object[name] = Bool.random(using: &random) ? nil : tree(directory, depth + 1, &random)
            }
        }
        for _ in 0..<Int.random(in: 0...2, using: &random) {
            guard let (name, values) = extras.randomElement(using: &random) else { continue }
            object[name] = values.randomElement(using: &random)
        }
        return .object(object)
    }

    /// Makes the images, the last one with random bytes changed.
    @GraphActor private static func makeFiles(_ fixture: NodeFixture, _ random: inout SeededGenerator) async throws {
        _ = try fixture.makeFile("raw.img", Array("raw".utf8), length: 1 << 20)
        _ = try await fixture.makeImage("a.q", clusterSize: 4096)
        _ = try await fixture.makeImage("o.q", backing: "a.q")
        _ = try await fixture.makeImage("d.q", dataFile: "d.raw")
        _ = try await fixture.makeImage("small.q", size: 512, clusterSize: 512)
        try await breakImage(fixture, &random)
    }

    @GraphActor private static func breakImage(_ fixture: NodeFixture, _ random: inout SeededGenerator) async throws {
        let path = try await fixture.makeImage("broken.q", backing: Bool.random(using: &random) ? "a.q" : nil)
        let file = try #require(fopen(path, "r+"))
        defer { fclose(file) }
        for _ in 0..<Int.random(in: 1...3, using: &random) {
            fseek(file, Int.random(in: 4..<200, using: &random), SEEK_SET)
            fputc(Int32.random(in: 0...255, using: &random), file)
        }
    }

    @Test func `nothing is left of what opens or does not`() async throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("nodes from random options, seed \(seed)")
        try await NodeFixture.run { fixture in
            var random = SeededGenerator(seed: seed)
            try await Self.makeFiles(fixture, &random)
            var opened = 0
            for round in 0..<1500 {
                if round % 20 == 0 { try await Self.breakImage(fixture, &random) }
                guard case .object(let tree) = Self.tree(fixture.directory, 0, &random) else { continue }
                var readOnly = NodeOptions()
                readOnly.isReadOnly = Bool.random(using: &random)
                let node: BlockNode?
                if Bool.random(using: &random) {
                    node = try? await fixture.factory.openImage(tree, options: readOnly, isRoot: true)
                } else if let options = try? BlockdevOptions(decoding: QAPIValue(.object(tree))) {
                    node = try? await fixture.factory.open(options, isRoot: true)
                } else {
                    node = nil
                }
                if let node {
                    opened += 1
                    _ = await NodeDescription(node).deviceInfo(flat: false)
                    let buffer = BufferPool.shared.take(count: 4096)
                    try? await node.read(0..<min(4096, node.length), into: buffer[0..<Int(min(4096, node.length))])
                    BufferPool.shared.give(buffer)
                    _ = try? await node.blockStatusAbove(base: nil, 0..<max(1, node.length))
                    if let options = node.sourceOptions as? BlockdevOptions, node.name == "n" {
                        try? await fixture.factory.reopen([options])
                    }
                }
                await fixture.graph.closeAll()
                #expect(fixture.graph.nodes.isEmpty, "seed \(seed), round \(round): \(JSON.object(tree))")
            }
            #expect(opened > 50)
            #expect(fixture.openFileCount == 0)
        }
    }
}
