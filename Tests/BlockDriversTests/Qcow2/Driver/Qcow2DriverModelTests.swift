import BlockGraph
import BlockTestSupport
import Glibc
import IOLoop
import StorageTestSupport
import Testing

@testable import BlockDrivers

/// Random requests against a model; the reference program checks and compares the images. CAIRN_STRESS_SECONDS=60 makes
/// it longer.
@Suite(.enabled(if: imageTool != nil)) struct Qcow2DriverModelTests {
    private static let rounds: Int = {
        let seconds = getenv("CAIRN_STRESS_SECONDS").flatMap { Int(String(cString: $0)) } ?? 3
        return max(2, seconds / 2)
    }()

    /// CAIRN_SEED=7 repeats what failed.
    private static let seed = getenv("CAIRN_SEED").flatMap { UInt64(String(cString: $0)) }

    static let shapes: [Qcow2Shape] = [
        Qcow2Shape(clusterSize: 512),
        Qcow2Shape(clusterSize: 512, ["compat=0.10"], backing: .raw),
        Qcow2Shape(clusterSize: 512, ["refcount_bits=1"], backing: .shorter),
        Qcow2Shape(clusterSize: 4096, ["compat=0.10"]),
        Qcow2Shape(clusterSize: 4096, ["refcount_bits=64"], backing: .raw),
        Qcow2Shape(clusterSize: 4096, ["refcount_bits=2", "compression_type=zstd"], backing: .longer),
        Qcow2Shape(clusterSize: 4096, ["lazy_refcounts=on"]),
        Qcow2Shape(clusterSize: 16384, ["extended_l2=on"]),
        Qcow2Shape(clusterSize: 16384, ["extended_l2=on", "compression_type=zstd"], backing: .shorter),
        Qcow2Shape(clusterSize: 65536),
        Qcow2Shape(clusterSize: 65536, ["compat=0.10"], backing: .longer),
        Qcow2Shape(clusterSize: 65536, backing: .raw),
        Qcow2Shape(clusterSize: 65536, backing: .qcow2),
        Qcow2Shape(clusterSize: 65536, ["compression_type=zstd"], backing: .shorter),
        Qcow2Shape(clusterSize: 65536, ["data_file=x"]),
        Qcow2Shape(clusterSize: 65536, ["data_file=x", "data_file_raw=on"]),
        Qcow2Shape(clusterSize: 4096, ["data_file=x"], backing: .raw),
        Qcow2Shape(clusterSize: 65536, ["extended_l2=on"], backing: .qcow2),
        Qcow2Shape(clusterSize: 65536, ["extended_l2=on", "data_file=x"], backing: .longer),
        Qcow2Shape(clusterSize: 65536, ["preallocation=metadata"]),
        Qcow2Shape(clusterSize: 65536, backing: .raw, isDirect: true),
        Qcow2Shape(clusterSize: 4096, ["data_file=x"], isDirect: true),
        Qcow2Shape(clusterSize: 16384, ["extended_l2=on"], backing: .shorter, isDirect: true),
        Qcow2Shape(clusterSize: 2 << 20, backing: .shorter),
        Qcow2Shape(clusterSize: 2 << 20, ["extended_l2=on"], backing: .raw),
    ]

    @Test(arguments: shapes)
    func `the disk holds what was written`(_ shape: Qcow2Shape) async throws {
        for round in 0..<Self.rounds {
            let seed = Self.seed ?? UInt64.random(in: 0..<10_000)
            print("qcow2 model: \(shape) seed \(seed) round \(round)")
            try await withLoops(2) { loops in
                try await Task(executorPreference: loops[0]) {
                    try await Qcow2Round(shape, seed: seed, loops: loops).run()
                }.value
            }
        }
    }
}

/// One image and its life.
final class Qcow2Round {
    private let shape: Qcow2Shape
    private let files: Qcow2DriverFiles
    private let loops: [IOLoop]
    private let comment: String
    private var model: DiskModel
    /// What was done so far, for messages.
    private var history: [(phase: String, request: String, range: ByteRange)] = []

    init(_ shape: Qcow2Shape, seed: UInt64, loops: [IOLoop]) throws {
        self.shape = shape
        self.loops = loops
        comment = "\(shape) seed \(seed)"
        files = try Qcow2DriverFiles(shape, seed: seed)
        model = DiskModel(files.initial, shape, seed: seed)
    }

    func run() async throws {
        var snapshots: [(name: String, bytes: [UInt8])] = []
        for session in 0..<3 {
            let rig = try await Qcow2DriverRig.open(files)
            history.append(("open", "", 0..<0))
            do {
                try await oneByOne(rig, count: 60)
                try await atTheSameTime(rig)
                try await inEachOthersWay(rig)
                try await readAll(rig)
            } catch {
                await rig.close()
                let check = try Qcow2DriverFiles.tool(["check", files.image], allowing: [0, 1, 2, 3])
                Issue.record("\(comment): \(check)")
                throw error
            }
            await rig.close()
            try files.verify(model.bytes, comment)
            guard session < 2, shape.hasSnapshots else { continue }
            // Clusters are shared from now on.
            try files.takeSnapshot("s\(session)")
            snapshots.append(("s\(session)", model.bytes))
            history.append(("snapshot", "", 0..<0))
        }
        for (name, bytes) in snapshots { try files.verifySnapshot(name, bytes, comment) }
        let rig = try await Qcow2DriverRig.open(files, readOnly: true)
        try await readAll(rig)
        await rig.close()
    }

    private func readAll(_ rig: Qcow2DriverRig) async throws {
        let difference = try await rig.guest.difference(from: model, 0..<Int64(model.bytes.count))
        guard let difference else { return }
        let now = try await rig.guest.readBytes(difference..<min(difference + 8, Int64(model.bytes.count)))
        let then = model.bytes[Int(difference)...].prefix(8)
        let status = try await rig.node.blockStatus(difference..<Int64(model.bytes.count))
        try #require(
            Bool(false),
            "\(comment): byte \(difference) is \(now), not \(Array(then)), \(status) after\(story(of: difference))")
    }

    /// The last requests for the cluster of a byte.
    private func story(of byte: Int64) -> String {
        let cluster = byte / Int64(shape.clusterSize) * Int64(shape.clusterSize)
        let range = cluster..<cluster + Int64(shape.clusterSize)
        let lines = history.filter { $0.range.overlaps(range) || $0.range.isEmpty }.suffix(25)
        return lines.map { "\n\($0.phase) \($0.request) \($0.range)" }.joined()
    }

    /// Requests one after the other.
    private func oneByOne(_ rig: Qcow2DriverRig, count: Int) async throws {
        for number in 0..<count {
            if number % 12 == 5 {
                try await compressed(rig)
                continue
            }
            let range = model.range()
            let request = model.request(range)
            if case .read = request {
                let difference = try await rig.guest.difference(from: model, range)
                try #require(difference == nil, "\(comment): byte \(difference ?? -1) of \(range)")
            } else {
                history.append(("one", request.name, range))
                try await rig.guest.carryOut(request, range)
                model.apply(request, range)
            }
        }
        try await readAll(rig)
    }

    /// A compressed cluster, which fails where one is allocated.
    private func compressed(_ rig: Qcow2DriverRig) async throws {
        let size = shape.clusterSize
        let start = Int.random(in: 0..<model.bytes.count, using: &model.random) / size * size
        let range = Int64(start)..<Int64(min(model.bytes.count, start + size))
        let data = model.data(Int(range.length))
        do {
            try await rig.guest.carryOut(.compressed(data), range)
            history.append(("one", "compressed", range))
            model.apply(.compressed(data), range)
            try #require(!shape.hasDataFile)
        } catch let error as Errno {
            history.append(("one", "compressed, failed", range))
            try #require(error == (shape.hasDataFile ? .ENOTSUP : .EIO), "\(comment): \(error)")
        }
    }

    /// Requests for ranges that do not overlap, from several loops at the same time.
    private func atTheSameTime(_ rig: Qcow2DriverRig) async throws {
        let window = min(model.bytes.count, shape.clusterSize * 12)
        let base = Int.random(in: 0...(model.bytes.count - window), using: &model.random)
        let cuts = (0..<24).map { _ in Int.random(in: base..<base + window, using: &model.random) }.sorted()
        var tasks: [Task<String?, Never>] = []
        var changes: [(DiskModel.Request, ByteRange)] = []
        for (index, (start, end)) in zip(cuts, cuts.dropFirst()).enumerated() where start < end {
            let range = Int64(start)..<Int64(end)
            let request = model.request(range)
            let before = model
            changes.append((request, range))
            history.append(("together", request.name, range))
            tasks.append(
                Task(executorPreference: loops[index % loops.count]) {
                    do {
                        guard case .read = request else {
                            try await rig.guest.carryOut(request, range)
                            return nil
                        }
                        return try await rig.guest.difference(from: before, range).map { "byte \($0) of \(range)" }
                    } catch {
                        return "\(request) \(range): \(error)"
                    }
                })
        }
        for task in tasks {
            let failure = await task.value
            #expect(failure == nil, "\(comment)")
        }
        for (request, range) in changes { model.apply(request, range) }
        try await readAll(rig)
    }

    /// Writes of one byte each to ranges that overlap: every byte is from one of them.
    private func inEachOthersWay(_ rig: Qcow2DriverRig) async throws {
        let window = min(model.bytes.count, min(shape.clusterSize * 3, 300_000))
        let base = Int.random(in: 0...(model.bytes.count - window), using: &model.random)
        var ranges: [ByteRange] = []
        var tasks: [Task<Errno?, Never>] = []
        for index in 0..<16 {
            let start = Int.random(in: base..<base + window, using: &model.random)
            let end = Int.random(in: start + 1...base + window, using: &model.random)
            let range = Int64(start)..<Int64(end)
            ranges.append(range)
            history.append(("overlapping", index % 5 == 0 ? "zero" : "write", range))
            tasks.append(
                Task(executorPreference: loops[index % loops.count]) {
                    await errno { () async throws(Errno) in
                        if index % 5 == 0 {
                            try await rig.guest.writeZeroes(range, flags: index % 10 == 0 ? .mayUnmap : [])
                        } else {
                            try await rig.guest.writeBytes(
                                [UInt8](repeating: UInt8(100 + index), count: Int(range.length)),
                                at: range.lowerBound)
                        }
                    }
                })
        }
        for task in tasks {
            let error = await task.value
            #expect(error == nil, "\(comment)")
        }
        let now = try await rig.guest.readBytes(Int64(base)..<Int64(base + window))
        let strangers = now.indices.filter { index in
            let place = Int64(base + index)
            let byte = now[index]
            if byte >= 100, byte < 116, ranges[Int(byte) - 100].contains(place) { return false }
            if byte == 0, stride(from: 0, to: 16, by: 5).contains(where: { ranges[$0].contains(place) }) {
                return false
            }
            return byte != model.bytes[Int(place)] || ranges.contains { $0.contains(place) }
        }
        #expect(strangers.isEmpty, "\(comment): byte \(base + (strangers.first ?? 0))")
        model.set(Int64(base)..<Int64(base + window), now)
        try await readAll(rig)
    }
}
