import JSON
import NBDProtocol
import QMPClient
import QMPSchema
import StorageTestSupport
import Testing

/// Exports whose connections are spread over threads.
@Suite
struct IOThreadTests {
    @Test func `connections over two threads agree with a model`() async throws {
        let (clients, blocks, block) = (6, 64, 4096)
        let size = clients * blocks * block
        let seed = UInt64.random(in: 0...UInt64.max)
        print("connections over two threads, seed \(seed)")
        try await Daemon.run(["--object", "iothread,id=io0", "--object", "iothread,id=io1"]) { daemon in
            try await daemon.openDisk(numberedDisk(size))
            try await daemon.removeExport("disk")
            try await daemon.export("disk", ["iothread": ["io0", "io1"]])
            try await withThrowingTaskGroup { group in
                for number in 0..<clients {
                    group.addTask {
                        var random = SeededGenerator(seed: seed &+ UInt64(number))
                        let client = try await daemon.connect("disk", headers: number % 2 == 0 ? .simple : .extended)
                        var model = Array(
                            numberedDisk(size)[number * blocks * block..<(number + 1) * blocks * block])
                        for _ in 0..<150 {
                            let start = Int.random(in: 0..<blocks, using: &random)
                            let length = Int.random(in: 1...min(4, blocks - start), using: &random) * block
                            let inside = start * block..<start * block + length
                            let offset = UInt64(number * blocks * block + start * block)
                            switch Int.random(in: 0..<8, using: &random) {
                            case 0..<4:
                                let byte = UInt8.random(in: 0...255, using: &random)
                                let payload = [UInt8](repeating: byte, count: length)
                                let reply = try await client.call(.write, offset, UInt64(length), payload: payload)
                                #expect(reply.error == 0)
                                model.replaceSubrange(inside, with: payload)
                            case 4:
                                let reply = try await client.call(.writeZeroes, offset, UInt64(length))
                                #expect(reply.error == 0)
                                model.replaceSubrange(inside, with: repeatElement(0, count: length))
                            case 5: #expect(try await client.call(.flush, 0, 0).error == 0)
                            default: #expect(try await client.read(offset, length) == Array(model[inside]))
                            }
                        }
                        let all = try await client.read(UInt64(number * blocks * block), blocks * block)
                        #expect(all == model)
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    @Test func `a dirty bitmap over NBD is what several writers wrote`() async throws {
        let (writers, granularity, granules) = (6, 4096, 512)
        let size = granules * granularity
        let seed = UInt64.random(in: 0...UInt64.max)
        print("dirty bitmap of several writers, seed \(seed)")
        try await Daemon.run(["--object", "iothread,id=io0", "--object", "iothread,id=io1"]) { daemon in
            try await daemon.openDisk(numberedDisk(size))
            try await daemon.execute(
                "block-dirty-bitmap-add",
                ["node": "disk", "name": "changes", "granularity": .integer(Int64(granularity))])
            try await daemon.removeExport("disk")
            try await daemon.export("disk", ["iothread": ["io0", "io1"]])
            let dirty = try await withThrowingTaskGroup(of: Set<Int>.self) { group in
                for number in 0..<writers {
                    group.addTask {
                        var random = SeededGenerator(seed: seed &+ UInt64(number))
                        let guest = try await daemon.connect("disk")
                        var dirty: Set<Int> = []
                        for _ in 0..<20 {
                            let offset = Int.random(in: 0..<size, using: &random)
                            let length = min(Int.random(in: 1...3 * granularity, using: &random), size - offset)
                            let command: NBDCommand =
                                [.write, .writeZeroes, .trim].randomElement(using: &random) ?? .write
                            let payload = command == .write ? [UInt8](repeating: 9, count: length) : []
                            let reply = try await guest.call(command, UInt64(offset), UInt64(length), payload: payload)
                            #expect(reply.error == 0)
                            dirty.formUnion(offset / granularity...(offset + length - 1) / granularity)
                        }
                        return dirty
                    }
                }
                return try await group.reduce(into: Set<Int>()) { $0.formUnion($1) }
            }
            try await daemon.execute("block-dirty-bitmap-disable", ["node": "disk", "name": "changes"])
            #expect(try await daemon.bitmaps(of: "disk").map(\.count) == [Int64(dirty.count * granularity)])
            try await daemon.removeExport("disk")
            try await daemon.export("disk", ["writable": false, "bitmaps": ["changes"]])
            for headers in [NBDHeaderMode.structured, .extended] {
                let context = "qemu:dirty-bitmap:changes"
                let reader = try await daemon.connect("disk", headers: headers, contexts: [context])
                let reply = try await reader.call(.blockStatus, 0, UInt64(size))
                guard case .status(_, let extents)? = reply.chunks.first else {
                    Issue.record("error \(reply.error)")
                    return
                }
                var found: Set<Int> = []
                var offset = 0
                for extent in extents {
                    let end = offset + Int(extent.length)
                    if extent.status == 1 { found.formUnion(offset / granularity..<end / granularity) }
                    offset = end
                }
                #expect(offset == size && found == dirty)
            }
        }
    }
}
