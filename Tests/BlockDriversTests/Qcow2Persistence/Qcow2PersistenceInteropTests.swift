import BlockDrivers
import BlockGraph
import BlockTestSupport
import Foundation
import IOLoop
import Qcow2Format
import StorageTestSupport
import Testing

/// Images that go between Cairn and QEMU's programs.
@Suite(.enabled(if: !installedPrograms("qemu-img").isEmpty && !installedPrograms("qemu-io").isEmpty))
struct Qcow2PersistenceInteropTests {
    private let directory = TemporaryDirectory()

    /// Runs one of QEMU's programs, which has to succeed: its output.
    @discardableResult
    private func qemu(_ program: String, _ arguments: String...) throws -> String {
        let path = try #require(installedPrograms(program).last)
        let result = run([path] + arguments, output: directory.file("output"))
        try #require(result.status == 0, "\(program) \(arguments): \(result.output)")
        return result.output
    }

    private func save(_ bytes: [UInt8], _ name: String) throws -> String {
        try Data(bytes).write(to: URL(fileURLWithPath: directory.file(name)))
        return directory.file(name)
    }

    private func load(_ path: String) throws -> [UInt8] { try [UInt8](Data(contentsOf: URL(fileURLWithPath: path))) }

    // MARK: Snapshots

    @Test(arguments: Qcow2SnapshotTests.shapes, 0..<2)
    func `QEMU sees our snapshots as they are`(shape: Qcow2ImageBytes.Shape, number: Int) async throws {
        let seed = UInt64(number) + 900
        let (bytes, model) = try await GraphFixture.run { fixture in
            try await Qcow2SnapshotTests.prepare(shape, steps: 120, seed: seed, in: fixture)
        }
        let path = try save(bytes, "image")
        #expect(try qemu("qemu-img", "check", path).contains("No errors were found"), "seed \(seed)")
        func expand(_ content: [UInt8]) -> [UInt8] {
            content.flatMap { [UInt8](repeating: $0, count: shape.clusterSize) }
        }
        try qemu("qemu-img", "convert", "-O", "raw", path, directory.file("raw"))
        #expect(try load(directory.file("raw")) == expand(model.current), "seed \(seed)")
        for snapshot in model.snapshots {
            try qemu(
                "qemu-img", "convert", "-l", "snapshot.id=\(snapshot.id)", "-O", "raw", path, directory.file("raw"))
            #expect(
                try load(directory.file("raw")) == expand(snapshot.content), "seed \(seed), snapshot \(snapshot.id)")
        }
    }

    @Test(arguments: ["", "cluster_size=4k", "compat=0.10", "extended_l2=on", "refcount_bits=64,compression_type=zstd"])
    func `QEMU's snapshots of compressed images are ours`(options: String) async throws {
        var random = SeededGenerator(seed: 4)
        var disk = [UInt8](repeating: 7, count: 1 << 20)
        for index in stride(from: 0, to: disk.count, by: 3000) {
            disk[index] = UInt8.random(in: 0...255, using: &random)
        }
        let path = directory.file("image")
        let raw = try save(disk, "disk")
        let settings = options.isEmpty ? "cluster_size=64k" : options
        try qemu("qemu-img", "convert", "-c", "-O", "qcow2", "-o", settings, raw, path)
        try qemu("qemu-img", "snapshot", "-c", "first", path)
        try qemu("qemu-io", "-c", "write -P 9 100k 200k", path)
        try qemu("qemu-img", "snapshot", "-c", "second", path)
        try qemu("qemu-io", "-c", "write -P 11 0 64k", path)
        let bytes = try load(path)
        let second = disk.replacing(100 << 10, [UInt8](repeating: 9, count: 200 << 10))
        for action in ["new", "first", "second", "delete"] {
            let changed = try await GraphFixture.run { fixture in
                let rig = try await BitmapRig(bytes, in: fixture)
                let store = try #require(rig.driver?.snapshots)
                #expect(try store.list().map(\.name) == ["first", "second"])
                switch action {
                case "new": _ = try await store.create(name: "third")
                case "first": try await store.apply(id: "1")
                case "second": try await store.apply(id: "2")
                default: for id in ["1", "2"] { try await store.delete(id: id) }
                }
                try await rig.write(512..<2048, 5)
                return try await rig.close()
            }
            let changedPath = try save(changed, "changed")
            let check = try qemu("qemu-img", "check", changedPath)
            #expect(check.contains("No errors were found"), "\(action): \(check)")
            let start =
                action == "first"
                ? disk
                : action == "second"
                    ? second
                    : second.replacing(0, [UInt8](repeating: 11, count: 64 << 10))
            try qemu("qemu-img", "convert", "-O", "raw", changedPath, directory.file("raw"))
            #expect(
                try load(directory.file("raw")) == start.replacing(512, [UInt8](repeating: 5, count: 1536)), "\(action)"
            )
            if action != "delete" {
                try qemu("qemu-img", "convert", "-l", "first", "-O", "raw", changedPath, directory.file("raw"))
                #expect(try load(directory.file("raw")) == disk, "\(action)")
            }
        }
    }

    // MARK: Bitmaps

    @Test(arguments: Qcow2BitmapTests.shapes)
    func `bitmaps go to QEMU and back`(shape: Qcow2ImageBytes.Shape) async throws {
        let bytes = try await GraphFixture.run { fixture in try await Qcow2BitmapTests.sample(shape, in: fixture) }
        let path = try save(bytes, "image")
        #expect(try qemu("qemu-img", "check", path).contains("No errors were found"))
        let info = try qemu("qemu-img", "info", path)
        #expect(info.contains("name: one") && info.contains("name: two") && !info.contains("in-use"))
        // QEMU reads ours, and writes what it read.
        for name in ["one", "two"] {
            let granularity = name == "one" ? "512" : "4096"
            try qemu("qemu-img", "bitmap", "--add", "--merge", name, "-g", granularity, path, "copy-\(name)")
        }
        // QEMU records on in ours that are enabled.
        try qemu("qemu-io", "-c", "write 300k 1k", path)
        let changed = try load(path)
        try await GraphFixture.run { fixture in
            let old = try await BitmapRig(bytes, in: fixture, isReadOnly: true)
            let new = try await BitmapRig(changed, in: fixture)
            for name in ["one", "two"] {
                let wanted = try old.node.bitmaps.find(name).snapshot().dirtyGranules
                let granularity = name == "one" ? 512 : 4096
                let written = Set((300 << 10) / granularity..<((301 << 10) + granularity - 1) / granularity)
                let found = try new.node.bitmaps.find(name).snapshot().dirtyGranules
                #expect(found == (name == "one" ? wanted.union(written) : wanted))
                #expect(try new.node.bitmaps.find("copy-\(name)").snapshot().dirtyGranules == wanted.union(written))
            }
            let check = try qemu("qemu-img", "check", save(try await new.close(), "again"))
            #expect(check.contains("No errors were found"))
        }
    }
}

extension [UInt8] {
    /// The bytes with others in their place from an index on.
    fileprivate func replacing(_ start: Int, _ bytes: [UInt8]) -> [UInt8] {
        var result = self
        result.replaceSubrange(start..<start + bytes.count, with: bytes)
        return result
    }
}
