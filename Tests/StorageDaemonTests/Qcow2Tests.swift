import IOLoop
import JSON
import NBDProtocol
import QMPClient
import QMPSchema
import StorageTestSupport
import Testing

/// Live backup and reopening with qcow2 images, on the whole daemon.
@Suite
struct Qcow2Tests {
    /// The images of a backup.
    struct Images: Sendable, CustomTestStringConvertible {
        var diskClusterSize: Int64 = 65536
        var diskIsExtended = false
        var hasBacking = false
        var scratchClusterSize: Int64 = 65536
        var scratchIsExtended = false

        var testDescription: String {
            "disk \(diskClusterSize)\(diskIsExtended ? " extended" : "")\(hasBacking ? " with backing" : ""), "
                + "scratch \(scratchClusterSize)\(scratchIsExtended ? " extended" : "")"
        }
    }

    @Test(arguments: [
        Images(), Images(hasBacking: true), Images(diskClusterSize: 4096, hasBacking: true, scratchClusterSize: 512),
        Images(diskIsExtended: true, hasBacking: true, scratchClusterSize: 2 << 20),
        Images(diskClusterSize: 2 << 20, scratchIsExtended: true),
    ])
    func `an instant of a qcow2 disk is kept in a qcow2 image`(_ images: Images) async throws {
        let size = 4 << 20
        let seed = UInt64.random(in: 0...UInt64.max)
        print("seed \(seed)")
        try await Daemon.run { daemon in
            var random = SeededGenerator(seed: seed)
            var model = [UInt8](repeating: 0, count: size)
            if images.hasBacking {
                model = numberedDisk(size)
                try await daemon.makeFile("base.img", model)
            }
            try await daemon.makeImage(
                "disk.q", size: size, clusterSize: images.diskClusterSize, extendedL2: images.diskIsExtended,
                backing: images.hasBacking ? "base.img" : nil, backingFormat: "raw")
            try await daemon.makeImage(
                "scratch.q", size: size, clusterSize: images.scratchClusterSize, extendedL2: images.scratchIsExtended)
            try await daemon.addImage("base", "disk.q")
            try await daemon.add(["driver": "raw", "node-name": "disk", "file": "base", "discard": "unmap"])
            try await daemon.addImage("scratch", "scratch.q")
            try await daemon.startServer()
            try await daemon.export("disk")
            let guest = try await daemon.connect("disk")
            for _ in 0..<60 { try await Self.change(&model, guest, &random) }
            #expect(try await guest.readAll(size) == model)

            try await daemon.cut()
            let instant = model
            let reader = try await daemon.connect("snap")
            for _ in 0..<120 {
                try await Self.change(&model, guest, &random)
                let range = Self.range(size, &random)
                #expect(try await reader.read(UInt64(range.lowerBound), range.count) == Array(instant[range]))
            }
            #expect(try await reader.readAll(size) == instant)
            #expect(try await guest.readAll(size) == model)
            guest.close()
            reader.close()
            try await daemon.endCut()

            // What is on disk, not what is in memory.
            try await daemon.removeExport("disk")
            try await daemon.qmp.blockdevDel(nodeName: "disk")
            try await daemon.qmp.blockdevDel(nodeName: "base")
            try await daemon.addImage("disk", "disk.q")
            try await daemon.export("disk")
            let again = try await daemon.connect("disk")
            #expect(try await again.readAll(size) == model)
        }
    }

    @Test func `options and backing images change under load`() async throws {
        let size = 2 << 20
        try await Daemon.run { daemon in
            let base = numberedDisk(size)
            for name in ["one.img", "two.img"] { try await daemon.makeFile(name, base) }
            try await daemon.makeImage(
                "disk.q", size: size, clusterSize: 4096, backing: "one.img", backingFormat: "raw")
            for name in ["one", "two"] {
                try await daemon.add([
                    "driver": "raw", "node-name": .string(name), "read-only": true,
                    "file": ["driver": "file", "filename": .string(daemon.directory.file("\(name).img"))],
                ])
            }
            try await daemon.addImage("disk", "disk.q", ["backing": "one"])
            try await daemon.startServer()
            try await daemon.export("disk")
            let written = try await withThrowingTaskGroup(of: [Int: UInt8].self) { group in
                for worker in 0..<4 {
                    group.addTask {
                        var random = SeededGenerator(seed: UInt64(worker))
                        var written: [Int: UInt8] = [:]
                        let client = try await daemon.connect("disk")
                        for _ in 0..<150 {
                            // Pages of its own, so that everybody knows what is where.
                            let page = Int.random(in: 0..<size / 4096 / 4, using: &random) * 4 + worker
                            let byte = UInt8.random(in: 1...255, using: &random)
                            let bytes = [UInt8](repeating: byte, count: 2048)
                            let reply = try await client.call(.write, UInt64(page * 4096 + 1024), 2048, payload: bytes)
                            #expect(reply.error == 0)
                            written[page] = byte
                            #expect(try await client.read(UInt64(page * 4096 + 1024), 2048) == bytes)
                        }
                        client.close()
                        return written
                    }
                }
                for step in 0..<24 {
                    let sizes: [Int64] = [16384, 65536, 1 << 20]
                    try await daemon.reopenImage(
                        "disk", "disk.q",
                        [
                            "backing": step % 2 == 0 ? "two" : "one", "l2-cache-size": .integer(sizes[step % 3]),
                            "l2-cache-entry-size": step % 4 < 2 ? 512 : 4096, "overlap-check": "all",
                        ])
                }
                var written: [Int: UInt8] = [:]
                for try await part in group { written.merge(part) { $1 } }
                return written
            }
            var expected = base
            for (page, byte) in written {
                for index in page * 4096 + 1024..<page * 4096 + 3072 { expected[index] = byte }
            }
            let client = try await daemon.connect("disk")
            #expect(try await client.readAll(size) == expected)
            client.close()
            // Without the backing image only what was written is left.
            try await daemon.reopenImage("disk", "disk.q", ["backing": .null])
            let alone = try await daemon.connect("disk")
            let page = try #require(written.keys.min())
            #expect(try await alone.read(UInt64(page * 4096), 4096) == Array(expected[page * 4096..<(page + 1) * 4096]))
            let other = try #require((0..<size / 4096).first { written[$0] == nil })
            #expect(try await alone.read(UInt64(other * 4096), 4096).allSatisfy { $0 == 0 })
        }
    }

    @Test func `what was flushed survives a daemon that is killed`() async throws {
        let directory = try await Self.killedDaemon()
        try await Daemon.run { daemon in
            try await daemon.add([
                "driver": "qcow2", "node-name": "disk",
                "file": ["driver": "file", "filename": .string(directory.file("disk.q"))],
            ])
            try await daemon.startServer()
            try await daemon.export("disk")
            let client = try await daemon.connect("disk")
            for index in 0..<16 { #expect(try await client.readCluster(index) == clusterBytes(index)) }
        }
    }

    /// The directory that a daemon leaves behind which was killed after a flush, in the middle of further writes.
    private static func killedDaemon() async throws -> TemporaryDirectory {
        try await Daemon.runAndKill { daemon in
            try await daemon.makeImage("disk.q", size: 4 << 20)
            try await daemon.addImage("disk", "disk.q")
            try await daemon.startServer()
            try await daemon.export("disk")
            let client = try await daemon.connect("disk")
            for index in 0..<16 {
                try await client.post(.write, UInt64(index * cluster), UInt64(cluster), payload: clusterBytes(index))
            }
            for _ in 0..<16 { #expect(try await client.reply().error == 0) }
            #expect(try await client.call(.flush, 0, 0).error == 0)
            for index in 20..<40 {
                try await client.post(.write, UInt64(index * cluster), UInt64(cluster), payload: clusterBytes(index))
            }
        }
    }

    // MARK: Changes

    private static func range(_ size: Int, _ random: inout SeededGenerator) -> Range<Int> {
        let start = Int.random(in: 0..<size, using: &random)
        let longest = [512, 8192, 200_000].randomElement(using: &random) ?? 512
        return start..<min(size, start + Int.random(in: 1...longest, using: &random))
    }

    /// Writes, zeroes or discards a range, and does the same to the model.
    private static func change(
        _ model: inout [UInt8], _ client: NBDTestClient, _ random: inout SeededGenerator
    ) async throws {
        let range = range(model.count, &random)
        let (offset, length) = (UInt64(range.lowerBound), UInt64(range.count))
        switch Int.random(in: 0..<6, using: &random) {
        case 0:
            #expect(try await client.call(.writeZeroes, offset, length).error == 0)
            model.replaceSubrange(range, with: repeatElement(0, count: range.count))
        case 1:
            #expect(try await client.call(.trim, offset, length).error == 0)
            model.replaceSubrange(range, with: try await client.read(offset, range.count))
        default:
            let byte = UInt8.random(in: 1...255, using: &random)
            let bytes = [UInt8](repeating: byte, count: range.count)
            #expect(try await client.call(.write, offset, length, payload: bytes).error == 0)
            model.replaceSubrange(range, with: bytes)
        }
    }
}

extension Daemon {
    /// Gives the node of a qcow2 image other options; what is not given goes back to its default.
    fileprivate func reopenImage(_ node: String, _ name: String, _ more: JSONObject) async throws {
        var options: JSONObject = [
            "driver": "qcow2", "node-name": .string(node), "discard": "unmap",
            "file": ["driver": "file", "filename": .string(directory.file(name)), "discard": "unmap"],
        ]
        for member in more.members { options[member.name] = member.value }
        try await execute("blockdev-reopen", ["options": [.object(options)]])
    }
}
