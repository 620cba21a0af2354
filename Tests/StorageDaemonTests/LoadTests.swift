import Glibc
import IOLoop
import JSON
import NBDProtocol
import QMPClient
import QAPI
import QMPSchema
import StorageTestSupport
import Synchronization
import Testing

/// Changes of the graph and of the exports while clients write, and what clients do to each other: nothing.
@Suite
struct LoadTests {
    /// How much longer than usual the load is kept up, from CAIRN_STRESS_SECONDS.
    private static let seconds = getenv("CAIRN_STRESS_SECONDS").flatMap { Int(String(cString: $0)) } ?? 0

    /// Whether a loop that began at `start` and has made `rounds` rounds is to make another.
    private static func goesOn(since start: MonotonicTime, rounds: Int, of minimum: Int) -> Bool {
        rounds < minimum || start.duration(to: .now) < .seconds(seconds)
    }

    @Test func `eight writers and four readers of the snapshot`() async throws {
        let (writers, count) = (8, 64)
        let size = count * cluster
        let seed = UInt64.random(in: 0...UInt64.max)
        print("writers and snapshot readers, seed \(seed)")
        try await Daemon.run(["--object", "iothread,id=io0", "--object", "iothread,id=io1"]) { daemon in
            try await daemon.openDisk(numberedDisk(size))
            try await daemon.openScratch(size: size)
            try await daemon.cut()
            for (node, thread) in [("disk", "io0"), ("snap", "io1")] {
                try await daemon.removeExport(node)
                try await daemon.export(node, ["iothread": .string(thread)])
            }
            let start = MonotonicTime.now
            let model = try await withThrowingTaskGroup(of: [Int: UInt8].self) { group in
                for number in 0..<writers {
                    group.addTask {
                        // Sectors take turns between the writers, so that each knows what is in its own.
                        var random = SeededGenerator(seed: seed &+ UInt64(number))
                        var model: [Int: UInt8] = [:]
                        let guest = try await daemon.connect("disk")
                        var rounds = 0
                        while Self.goesOn(since: start, rounds: rounds, of: 150) {
                            rounds += 1
                            let sector = Int.random(in: 0..<size / 512 / writers, using: &random) * writers + number
                            if let byte = model[sector], Bool.random(using: &random) {
                                let bytes = try await guest.read(UInt64(sector * 512), 512)
                                #expect(bytes.allSatisfy { $0 == byte }, "sector \(sector)")
                            }
                            let byte = UInt8.random(in: 0...255, using: &random)
                            let payload = [UInt8](repeating: byte, count: 512)
                            let reply = try await guest.call(.write, UInt64(sector * 512), 512, payload: payload)
                            #expect(reply.error == 0)
                            model[sector] = byte
                        }
                        return model
                    }
                }
                for number in 0..<4 {
                    group.addTask {
                        var random = SeededGenerator(seed: seed &- UInt64(number))
                        let reader = try await daemon.connect("snap")
                        var rounds = 0
                        while Self.goesOn(since: start, rounds: rounds, of: 60) {
                            rounds += 1
                            let first = Int.random(in: 0..<count, using: &random)
                            let last = min(first + Int.random(in: 0..<4, using: &random), count - 1)
                            let bytes = try await reader.read(UInt64(first * cluster), (last - first + 1) * cluster)
                            #expect(bytes == (first...last).flatMap { clusterBytes($0) }, "clusters \(first)...\(last)")
                        }
                        return [:]
                    }
                }
                return try await group.reduce(into: [:]) { $0.merge($1) { $1 } }
            }
            try await daemon.endCut()
            var expected = numberedDisk(size)
            for (sector, byte) in model {
                expected.replaceSubrange(sector * 512..<sector * 512 + 512, with: repeatElement(byte, count: 512))
            }
            #expect(try await daemon.connect("disk").readAll(size) == expected)
        }
    }

    @Test func `no write is lost while the filter comes and goes`() async throws {
        let (writers, perWriter, rounds) = (4, 8, 6)
        let size = writers * perWriter * cluster
        try await Daemon.run { daemon in
            try await daemon.openDisk([UInt8](repeating: 0, count: size))
            let isOver = Flag()
            try await withThrowingTaskGroup { group in
                for number in 0..<writers {
                    group.addTask {
                        // Passes over its clusters again and again; the number of the pass goes up by one.
                        let guest = try await daemon.connect("disk")
                        var pass: UInt8 = 0
                        while !isOver.isSet {
                            pass &+= 1
                            for index in 0..<perWriter {
                                let place = number * perWriter + index
                                #expect(try await guest.writeCluster(place, pass) == 0)
                            }
                        }
                        for index in 0..<perWriter {
                            let bytes = try await guest.readCluster(number * perWriter + index)
                            #expect(bytes == [UInt8](repeating: pass, count: cluster))
                        }
                    }
                }
                group.addTask {
                    defer { isOver.set() }
                    for _ in 0..<rounds {
                        try await daemon.openScratch(size: size)
                        try await daemon.cut()
                        let reader = try await daemon.connect("snap")
                        let first = try await reader.readAll(size)
                        #expect(try await reader.readAll(size) == first)
                        for number in 0..<writers {
                            Self.expectInstant(first, (0..<perWriter).map { number * perWriter + $0 })
                        }
                        try await daemon.endCut()
                        for node in ["scratch", "scratch-debug", "scratch-file"] {
                            try await daemon.qmp.blockdevDel(nodeName: node)
                        }
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    /// At one instant, one pass has come as far as some cluster, and the pass before it fills the rest.
    private static func expectInstant(_ bytes: [UInt8], _ clusters: [Int]) {
        let passes = clusters.map { bytes[$0 * cluster] }
        let steps = zip(passes, passes.dropFirst()).filter { $0 != $1 }
        #expect(steps.count <= 1 && steps.allSatisfy { $0 == $1 &+ 1 }, "passes \(passes)")
    }

    @Test func `acknowledged writes survive the hard removal of their export`() async throws {
        let (writers, size) = (4, 16 * cluster)
        try await Daemon.run { daemon in
            try await daemon.openDisk([UInt8](repeating: 0, count: size))
            try await daemon.removeExport("disk")
            for round in 0..<8 {
                try await daemon.export("disk")
                var clients: [NBDTestClient] = []
                for _ in 0..<writers { clients.append(try await daemon.connect("disk")) }
                let acknowledged = try await withThrowingTaskGroup(of: (Int, Int).self) { group in
                    for number in 0..<writers {
                        group.addTask {
                            let guest = try await daemon.connect("disk")
                            var count = 0
                            while let error = try? await guest.writeCluster(
                                number * 4 + count % 4, UInt8(truncatingIfNeeded: count))
                            {
                                #expect(error == 0)
                                count += 1
                            }
                            return (number, count)
                        }
                    }
                    for client in clients { #expect(try await client.call(.flush, 0, 0).error == 0) }
                    for _ in 0..<round { _ = try await clients[0].read(0, cluster) }
                    try await daemon.removeExport("disk")
                    return try await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
                }
                for client in clients { #expect(await client.isAtEnd()) }
                let bytes = try await daemon.contents("disk.img")
                for (number, count) in acknowledged {
                    // The last write may have been done without its reply.
                    for index in max(0, count - 4)..<count {
                        let byte = bytes[(number * 4 + index % 4) * cluster]
                        let next = UInt8(truncatingIfNeeded: index + 4)
                        #expect(
                            byte == UInt8(truncatingIfNeeded: index) || (index == count - 4 && byte == next),
                            "writer \(number), write \(index) of \(count)")
                    }
                }
            }
        }
    }

    @Test func `clients that vanish leave nothing behind`() async throws {
        let size = 8 * cluster
        try await Daemon.run(["--object", "iothread,id=io0", "--object", "iothread,id=io1"]) { daemon in
            try await daemon.openDisk(numberedDisk(size))
            try await daemon.openScratch(size: size)
            try await daemon.cut()
            for node in ["disk", "snap"] {
                try await daemon.removeExport(node)
                try await daemon.export(node, ["iothread": ["io0", "io1"]])
            }
            let count = daemon.process.descriptorCount
            try await withThrowingTaskGroup { group in
                for number in 0..<8 {
                    group.addTask {
                        for round in 0..<12 {
                            let isReader = (number + round) % 2 == 0
                            let client = try await daemon.connect(isReader ? "snap" : "disk")
                            for cookie in 0..<UInt64(round) {
                                try await client.post(.read, 0, UInt64(size), cookie: cookie)
                                let place = UInt64(number * cluster)
                                if isReader {
                                    try await client.post(.blockStatus, 0, UInt64(size), cookie: cookie)
                                } else {
                                    try await client.post(
                                        .write, place, 4096, cookie: cookie, payload: clusterBytes(200, 4096))
                                }
                            }
                            if round % 3 == 2 { _ = try await client.receive(16) }
                            client.close()
                        }
                    }
                }
                group.addTask {
                    let reader = try await daemon.connect("snap")
                    for _ in 0..<20 { #expect(try await reader.readAll(size) == numberedDisk(size)) }
                }
                try await group.waitForAll()
            }
            try await daemon.wait {
                _ = try await daemon.qmp.queryBlockExports(); return daemon.process.descriptorCount <= count
            }
            #expect(try await daemon.qmp.queryBlockExports().map(\.id) == ["snap", "disk"])
            let reader = try await daemon.connect("snap")
            #expect(try await reader.readAll(size) == numberedDisk(size))
            reader.close()
            try await daemon.wait { try await daemon.isFree("snap") }
        }
    }
}

extension Daemon {
    /// Whether an export has no clients: then, and only then, it can be removed gently.
    fileprivate func isFree(_ export: String) async throws -> Bool {
        do {
            try await qmp.blockExportDel(id: export, mode: .safe)
            return true
        } catch let error as QMPError where error.description == "export '\(export)' still in use" {
            return false
        }
    }
}

/// Something that happens once.
private final class Flag: Sendable {
    private let value = Atomic<Bool>(false)
    var isSet: Bool { value.load(ordering: .relaxed) }
    func set() { value.store(true, ordering: .relaxed) }
}
