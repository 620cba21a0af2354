import BlockDrivers
import BlockGraph
import BlockNodes
import BlockTestSupport
import Glibc
import IOLoop
import StorageTestSupport
import Testing

@testable import BlockJobs

/// Mirrors of random chains, while guests write at random.
@Suite struct MirrorModelTests {
    /// CAIRN_MIRROR_SEEDS=50 tries more.
    private static let seeds = 0..<(getenv("CAIRN_MIRROR_SEEDS").flatMap { UInt64(String(cString: $0)) } ?? 1)

    /// What happens to a job.
    enum Course: String, CaseIterable, Sendable {
        case plain, cancelled, cancelledReady, cancelledSoftly, paused, slow, change
        case report, stop, ignore, guestErrors
    }

    @Test(arguments: [false, true], seeds)
    func `a mirror has all that guests write`(_ isWriteBlocking: Bool, _ seed: UInt64) async throws {
        for (index, course) in Course.allCases.enumerated() {
            for sync in [MirrorOptions.Sync.full, .top, .none, .aboveTarget] {
                try await withLoops(2) { loops in
                    try await onLoop { () async throws(any Error) in
                        try await Self.round(course, sync, isWriteBlocking, seed * 131 + UInt64(index), loops)
                    }
                }
            }
        }
    }

    @GraphActor
    private static func round(
        _ course: Course, _ sync: MirrorOptions.Sync, _ isWriteBlocking: Bool, _ seed: UInt64, _ loops: [IOLoop]
    ) async throws {
        var round = Round(course, sync, isWriteBlocking, seed: seed)
        try await round.run(loops)
    }
}

@GraphActor
private struct Round {
    let course: MirrorModelTests.Course
    let sync: MirrorOptions.Sync
    let isWriteBlocking: Bool
    let comment: String
    var random: SeededGenerator

    init(_ course: MirrorModelTests.Course, _ sync: MirrorOptions.Sync, _ isWriteBlocking: Bool, seed: UInt64) {
        self.course = course
        self.sync = sync
        self.isWriteBlocking = isWriteBlocking
        random = SeededGenerator(seed: seed)
        comment = "\(course) \(sync) \(isWriteBlocking ? "write-blocking" : "background") seed \(seed)"
    }

    private var fails: Bool { [.report, .stop, .ignore, .guestErrors].contains(course) }

    mutating func run(_ loops: [IOLoop]) async throws {
        if getenv("CAIRN_MIRROR_SEEDS") != nil { print(comment) }
        var shape = ChainRig.Shape()
        shape.depth = 2 + (Bool.random(using: &random) ? 1 : 0)
        shape.length = (1 << 18) - (Bool.random(using: &random) ? 512 : 0)
        let rig = try await ChainRig(shape, random: &random)
        let disk = try await makeTarget(rig)
        let target: BlockNode
        if sync == .aboveTarget {
            target = rig.layers[Int.random(in: 0..<shape.depth - 1, using: &random)]
            _ = try await rig.factory.makeWritable(target)
        } else {
            target = try await rig.graph.openMemory("target", disk, isOwnedByMonitor: true)
        }
        let guests = Guests(rig, random: &random)
        // Without a first copy, the target has to be what the source is when the job begins.
        if sync != .none { try guests.start(loops) }
        if fails { disk.fail(.write, with: .ENOSPC, count: 2) }
        let job = try await start(rig, target)
        if sync == .none { try guests.start(loops) }
        try await steer(job, rig, disk)
        let isReady = await finish(job, rig, guests)
        await guests.stop()
        #expect(guests.problems.value == [], "\(comment)")
        try await verify(rig, target, guests, job, isReady: isReady)
        await rig.close()
    }

    /// A disk that holds what the job does not copy.
    private mutating func makeTarget(_ rig: ChainRig) async throws -> MemoryDriver {
        var bytes: [UInt8]
        switch sync {
        case .full, .aboveTarget: bytes = random.bytes(rig.view.count)
        case .none: bytes = rig.view
        case .top:
            let below = rig.layers[rig.layers.count - 2]
            bytes = try await below.bytes(0..<below.length)
            bytes = Array((bytes + [UInt8](repeating: 0, count: rig.view.count)).prefix(rig.view.count))
        }
        var abilities = MemoryDriver.Abilities()
        abilities.yields = true
        abilities.zeroes = Bool.random(using: &random)
        return MemoryDriver(bytes, abilities: abilities)
    }

    private mutating func start(_ rig: ChainRig, _ target: BlockNode) async throws -> Job {
        var options = MirrorOptions(sync: sync)
        options.isWriteBlocking = isWriteBlocking && sync != .aboveTarget
        options.granularity = Int64(512 << Int.random(in: 0...9, using: &random))
        options.bufferSize = Int64.random(in: 1...(2 << 20), using: &random)
        options.unmaps = Bool.random(using: &random)
        switch course {
        case .stop, .guestErrors: options.onTargetError = .stop
        case .ignore: options.onTargetError = .ignore
        default: break
        }
        var settings = Job.Options(id: "j", type: sync == .aboveTarget ? .commit : .mirror)
        settings.isBlockJob = true
        settings.autoDismiss = false
        if course == .slow { settings.speed = 32 << 20 }
        let (chosen, made) = (options, settings)
        try await rig.command {
            try await MirrorJob.start(from: rig.top, to: target, options: chosen, job: made, in: rig.jobs)
        }
        return try rig.jobs.job("j")
    }

    /// What clients do until the job is ready.
    private func steer(_ job: Job, _ rig: ChainRig, _ disk: MemoryDriver) async throws {
        switch course {
        case .paused:
            for _ in 0..<3 {
                try? await rig.command { try job.pause() }
                for _ in 0..<5 { await Task.yield() }
                try? await rig.command { try job.resume() }
            }
        case .cancelled: try? await rig.command { try await job.cancel(force: true) }
        case .change where sync != .aboveTarget:
            try await rig.command { try job.change(MirrorChange(isWriteBlocking: true)) }
        default: break
        }
    }

    /// Resumes what stops, and ends the job. Returns whether it was ready.
    private func finish(_ job: Job, _ rig: ChainRig, _ guests: Guests) async -> Bool {
        while !job.status.isOver, !job.state.isReady {
            await rig.waitForChange { job.state.isReady || job.status.isOver || job.status == .paused }
            if job.status == .paused { try? await rig.command { try job.resume() } }
        }
        let isReady = !job.status.isOver
        switch course {
        case .cancelledReady: try? await rig.command { try await job.cancel(force: true) }
        case .cancelledSoftly:
            await guests.stop()
            try? await rig.command { try await job.cancel(force: false) }
        default: try? await rig.command { try job.complete() }
        }
        while !job.status.isOver {
            await rig.waitForChange { job.status.isOver || job.isUserPaused }
            if job.isUserPaused { try? await rig.command { try job.resume() } }
        }
        return isReady
    }

    private func verify(
        _ rig: ChainRig, _ target: BlockNode, _ guests: Guests, _ job: Job, isReady: Bool
    ) async throws {
        let expected = guests.model.value
        let shown = try await guests.backend.bytes(0..<Int64(expected.count))
        #expect(shown == expected, "\(comment): what guests see; \(job.error?.description ?? "")")
        let isPivoted = guests.backend.node == target
        switch course {
        case .cancelled, .cancelledReady: #expect(!isPivoted, "\(comment)")
        case .cancelledSoftly:
            #expect(!isPivoted && job.error == nil, "\(comment)")
            let copy = try await target.bytes(0..<Int64(expected.count))
            #expect(copy == expected, "\(comment): the copy")
        case .report, .stop, .ignore, .guestErrors:
            // An error in the last step ends the job.
            #expect(isPivoted == (job.error == nil), "\(comment)")
        default: #expect(isPivoted && job.error == nil, "\(comment): \(job.error?.description ?? "")")
        }
        #expect(!rig.graph.nodes.contains { $0.driver.driverName == "mirror_top" }, "\(comment): the filter is left")
    }
}

/// Guests at the top of a chain.
@GraphActor
private final class Guests {
    let backend: BlockBackend
    let model: Locked<[UInt8]>
    let problems = Locked<[String]>([])
    private let isOver = Flag()
    private var tasks: [Task<Void, Never>] = []
    private var seeds: [UInt64] = []

    init(_ rig: ChainRig, random: inout SeededGenerator) {
        model = Locked(rig.view)
        seeds = (0..<4).map { _ in UInt64.random(in: 0..<UInt64.max, using: &random) }
        do {
            backend = try rig.graph.attachWriter(rig.top)
        } catch {
            fatalError("the guests cannot use the disk: \(error)")
        }
    }

    func start(_ loops: [IOLoop]) throws {
        for (number, seed) in seeds.enumerated() {
            let guest = ChainGuest(
                backend: backend, number: number, count: seeds.count, model: model, problems: problems, isOver: isOver)
            tasks.append(
                Task(executorPreference: loops[number % loops.count]) { await guest.run(SeededGenerator(seed: seed)) })
        }
    }

    func stop() async {
        isOver.set()
        for task in tasks { await task.value }
        tasks = []
    }
}
