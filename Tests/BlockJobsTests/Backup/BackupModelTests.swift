import BlockDrivers
import BlockGraph
import BlockTestSupport
import Glibc
import IOLoop
import StorageTestSupport
import Testing

@testable import BlockJobs

/// Backups of random images while guests write at random: each is the disk of one instant, and the bitmap is exact.
@Suite struct BackupModelTests {
    /// CAIRN_BACKUP_SEEDS=50 tries more.
    private static let seeds = 0..<(getenv("CAIRN_BACKUP_SEEDS").flatMap { UInt64(String(cString: $0)) } ?? 1)

    /// What is copied.
    enum Sync: String, CaseIterable, Sendable {
        case full, top, bitmap, nothing
    }

    @Test(arguments: Sync.allCases, seeds)
    func `a backup holds the disk of one instant`(_ sync: Sync, _ seed: UInt64) async throws {
        try await withLoops(2) { loops in
            for source in BackupRig.Format.allCases {
                for target in BackupRig.Format.allCases {
                    try await onLoop { () async throws(any Error) in
                        try await Round(sync, source, target, seed: seed).run(on: loops)
                    }
                }
            }
        }
    }
}

/// One backup.
@GraphActor
private final class Round {
    static let cluster = 65536

    let sync: BackupModelTests.Sync
    let comment: String
    let sourceFormat: BackupRig.Format
    let targetFormat: BackupRig.Format
    var random: SeededGenerator

    init(_ sync: BackupModelTests.Sync, _ source: BackupRig.Format, _ target: BackupRig.Format, seed: UInt64) {
        self.sync = sync
        sourceFormat = source
        targetFormat = target
        comment = "\(sync) of \(source) to \(target), seed \(seed)"
        random = SeededGenerator(seed: seed &* 977 &+ UInt64(comment.utf8.reduce(7) { ($0 &* 31 &+ Int($1)) & 0xFFFF }))
    }

    /// The bitmap of a round, and what becomes of it.
    private struct Plan {
        var bitmap: DirtyBitmap
        var mode: BackupJob.BitmapMode
        var before: HierarchicalBitmap
    }

    func run(on loops: [IOLoop]) async throws {
        let length = Int.random(in: 8...24, using: &random) * 65536 + Int.random(in: 0..<128, using: &random) * 512
        var images = SeededGenerator(seed: random.next())
        // Compressed data cannot take the place of others.
        let isCompressed = targetFormat != .raw && Bool.random(using: &random)
        let rig = try await BackupRig(
            source: sourceFormat, target: targetFormat, isTargetEmpty: isCompressed, length: length, &images)
        let plan = try makePlan(rig)
        let allocated = try await allocatedClusters(rig.source)
        let old = try await rig.source.bytes(0..<rig.source.length)
        let (slow, pauses, workers) = (
            Int.random(in: 0..<4, using: &random) == 0, Bool.random(using: &random),
            Int.random(in: 1...8, using: &random)
        )
        let minimum: Int64 = Bool.random(using: &random) ? 0 : 131_072
        let job = try await rig.start { request in
            request.job.autoFinalize = false
            request.job.speed = slow ? 8 << 20 : 0
            request.options.sync = sync == .top ? .top : sync == .nothing ? .none : .all
            request.options.maximumWorkers = workers
            request.bitmap = plan.map { ($0.bitmap, $0.mode) }
            request.copiesBitmapOnly = sync == .bitmap
            request.minimumClusterSize = minimum
            request.filterOptions.isCompressed = isCompressed
        }
        let unit = max(Self.cluster, Int(minimum), Int(rig.target.driver.clusterSize ?? 0))
        // A discard may do nothing at all: then nothing is dirty, and nothing copied.
        let discards = plan == nil && (sync == .full || sync == .top)
        let isOver = Flag()
        let written = Locked<[Range<Int64>]>([])
        let seeds = (0..<3).map { _ in random.next() }
        let writers = seeds.enumerated().map { number, seed in
            Task(executorPreference: loops[number % loops.count]) { [guest = rig.guest] in
                await Self.write(
                    guest, length: length, isOver, written, discards: discards, SeededGenerator(seed: seed))
            }
        }
        if pauses { try await disturb(rig, job) }
        if sync == .nothing {
            for _ in 0..<200 { await Task.yield() }
        } else {
            await rig.wait(for: job, .pending)
            try #require(job.status == .pending, "\(comment): \(job.error?.description ?? "")")
        }
        isOver.set()
        for writer in writers { await writer.value }
        let succeeds = sync != .nothing && Bool.random(using: &random)
        try await rig.command { if succeeds { try await job.finalize() } else { try await job.cancel(force: true) } }
        await rig.wait(for: job, .null)
        #expect(job.error?.description == (succeeds ? nil : "Operation canceled"), "\(comment)")
        try await verify(rig, old, written.value, plan, allocated, succeeds: succeeds, unit: unit)
        await rig.close(comment)
    }

    private func makePlan(_ rig: BackupRig) throws -> Plan? {
        guard sync == .bitmap || sync != .nothing && Bool.random(using: &random) else { return nil }
        let granularity = Int64(512 << Int.random(in: 0...9, using: &random))
        let bitmap = try rig.graph.addBitmap(named: "b", to: rig.source, granularity: granularity)
        for _ in 0..<5 {
            let start = Int64.random(in: 0..<rig.source.length, using: &random)
            bitmap.withBits { $0.set(start..<start + Int64.random(in: 1...200_000, using: &random)) }
        }
        let modes: [BackupJob.BitmapMode] = sync == .bitmap ? [.never, .onSuccess, .always] : [.onSuccess, .always]
        return Plan(
            bitmap: bitmap, mode: modes[Int.random(in: 0..<modes.count, using: &random)], before: bitmap.snapshot())
    }

    /// The clusters of 64 KiB that the topmost image has something of.
    private func allocatedClusters(_ node: BlockNode) async throws -> [Range<Int64>] {
        var found: [Range<Int64>] = []
        var offset: Int64 = 0
        while offset < node.length {
            let status = try await node.blockStatus(offset..<node.length, precision: .allocation)
            if status.isAllocated { found.append(offset..<offset + status.length) }
            offset += status.length
        }
        return found
    }

    private nonisolated static func write(
        _ guest: BlockBackend, length: Int, _ isOver: Flag, _ written: Locked<[Range<Int64>]>, discards: Bool,
        _ random: SeededGenerator
    ) async {
        var random = random
        var count = 0
        while count < 5 || !isOver.isSet && count < 2000 {
            count += 1
            let start = Int64.random(in: 0..<Int64(length), using: &random)
            let end = min(Int64(length), start + Int64.random(in: 1...70_000, using: &random))
            written.withLock { $0.append(start..<end) }
            switch Int.random(in: 0..<6, using: &random) {
            case 0: try? await guest.writeZeroes(start..<end, flags: .mayUnmap)
            case 1 where discards: try? await guest.discard(start..<end)
            default: try? await guest.write([UInt8](repeating: UInt8(count & 0xFF), count: Int(end - start)), at: start)
            }
            await Task.yield()
        }
    }

    /// Pauses the job, and drains its nodes, while it runs.
    private func disturb(_ rig: BackupRig, _ job: Job) async throws {
        for _ in 0..<3 {
            try await rig.command {
                guard !job.status.hasEndedWork else { return }
                try? job.pause()
                try await rig.graph.drained([Bool.random(using: &random) ? rig.source : rig.target]) {
                    () async throws(BlockError) in
                }
                for _ in 0..<Int.random(in: 0..<20, using: &random) { await Task.yield() }
                try? job.resume()
            }
            await Task.yield()
        }
    }

    private func verify(
        _ rig: BackupRig, _ old: [UInt8], _ written: [Range<Int64>], _ plan: Plan?, _ allocated: [Range<Int64>],
        succeeds: Bool, unit: Int
    ) async throws {
        var wanted = HierarchicalBitmap(length: rig.source.length, granularity: Int64(unit))
        switch sync {
        case .full: wanted.setAll()
        case .top: for range in allocated { wanted.set(range) }
        case .bitmap: if let plan { wanted.merge(plan.before) }
        case .nothing: for range in written { wanted.set(range) }
        }
        var expected = rig.untouched
        for area in wanted.dirtyAreas {
            let range = Int(area.lowerBound)..<Int(area.upperBound)
            expected.replaceSubrange(range, with: old[range])
        }
        let found = try await rig.target.bytes(0..<rig.target.length)
        let difference = zip(found, expected).enumerated().first { $1.0 != $1.1 }?.offset
        #expect(difference == nil, "\(comment): at \(difference ?? 0)")
        guard let plan else { return }
        var bits = HierarchicalBitmap(length: rig.source.length, granularity: plan.bitmap.granularity)
        for range in written { bits.set(range) }
        if !(plan.mode == .always || plan.mode == .onSuccess && succeeds) { bits.merge(plan.before) }
        #expect(plan.bitmap.snapshot() == bits, "\(comment): the bitmap, \(plan.mode), succeeds: \(succeeds)")
        #expect(!plan.bitmap.isBusy && rig.source.bitmaps.all.count == 1, "\(comment)")
    }
}
