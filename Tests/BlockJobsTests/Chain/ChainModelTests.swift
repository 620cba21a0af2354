import BlockDrivers
import BlockGraph
import BlockNodes
import BlockTestSupport
import Glibc
import IOLoop
import StorageTestSupport
import Testing

@testable import BlockJobs

/// Jobs on random chains, while guests write at random.
@Suite struct ChainModelTests {
    /// CAIRN_CHAIN_SEEDS=50 tries more.
    private static let seeds = 0..<(getenv("CAIRN_CHAIN_SEEDS").flatMap { UInt64(String(cString: $0)) } ?? 3)

    /// What happens to a job.
    enum Course: String, CaseIterable, Sendable {
        case plain, cancelled, paused, slow, report, stop, ignore
    }

    @Test(arguments: Course.allCases, seeds)
    func `a stream changes nothing that the guest sees`(_ course: Course, _ seed: UInt64) async throws {
        try await withLoops(2) { loops in
            try await onLoop { () async throws(any Error) in
                try await Self.round(course, seed: seed * 7 + 1, isStream: true, loops)
            }
        }
    }

    @Test(arguments: Course.allCases, seeds)
    func `a commit changes nothing that the guest sees`(_ course: Course, _ seed: UInt64) async throws {
        try await withLoops(2) { loops in
            try await onLoop { () async throws(any Error) in
                try await Self.round(course, seed: seed * 11 + 2, isStream: false, loops)
            }
        }
    }

    /// The job of a round, and how the chain looks like when it has succeeded.
    private struct Plan {
        /// The image whose backing image changes.
        var image: Int
        /// Its backing image then.
        var backing: Int?
        /// The uppermost image of a commit.
        var top = 0
    }

    private static func plan(_ depth: Int, isStream: Bool, _ random: inout SeededGenerator) -> Plan {
        if isStream {
            let image = Bool.random(using: &random) ? depth - 1 : Int.random(in: 1..<depth, using: &random)
            let backing = Bool.random(using: &random) ? nil : Int.random(in: 0..<image, using: &random)
            return Plan(image: image, backing: backing)
        }
        let top = Int.random(in: 1..<depth - 1, using: &random)
        return Plan(image: top + 1, backing: Int.random(in: 0..<top, using: &random), top: top)
    }

    @GraphActor
    private static func round(_ course: Course, seed: UInt64, isStream: Bool, _ loops: [IOLoop]) async throws {
        let comment = "\(isStream ? "stream" : "commit") \(course.rawValue) seed \(seed)"
        var random = SeededGenerator(seed: seed)
        var shape = ChainRig.Shape()
        shape.depth = Int.random(in: isStream ? 2...5 : 3...5, using: &random)
        shape.length = Int.random(in: 1...2500, using: &random) * 512
        let plan = plan(shape.depth, isStream: isStream, &random)
        if [.report, .stop, .ignore].contains(course) {
            // An error of a source, or of the image that is written.
            let writes = Bool.random(using: &random)
            let target = isStream ? plan.image : plan.backing ?? 0
            let layer = writes ? target : isStream ? plan.image - 1 : plan.top
            shape.fault = (layer, writes ? "write_aio" : "read_aio", .EIO)
        }
        let rig = try await ChainRig(shape, random: &random)
        let model = Locked(rig.view)
        let problems = Locked<[String]>([])
        let isOver = Flag()
        let guests = try startGuests(rig, model, problems, isOver, &random, loops)
        var job: Job?
        do {
            job = try await rig.command { try await start(plan, rig, course, isStream: isStream) }
        } catch {
            // The fault has hit the resizing of the base.
            #expect("\(error)" == "Failed to zero out new clusters: Input/output error", "\(comment)")
        }
        if let job {
            try await accompany(job, rig, course, &random)
            await rig.wait(for: job, .concluded)
        }
        isOver.set()
        for guest in guests { await guest.value }
        #expect(problems.value == [], "\(comment)")
        let succeeded = job.map { $0.error == nil } ?? false
        if course == .plain || course == .paused || course == .slow {
            #expect(succeeded, "\(comment): \(job?.error as Any)")
        }
        #expect(
            rig.graph.nodes.allSatisfy { !["copy-on-read", "commit_top"].contains($0.driver.driverName) }, "\(comment)")
        let writable = rig.layers.dropLast().filter { !$0.isReadOnly }.map(\.name)
        #expect(writable == [], "\(comment)")
        try job?.dismiss()
        try await rig.verify(
            model.value, backing: succeeded ? plan.backing : plan.image > 0 ? plan.image - 1 : nil, of: plan.image,
            comment)
    }

    @GraphActor
    private static func startGuests(
        _ rig: ChainRig, _ model: Locked<[UInt8]>, _ problems: Locked<[String]>, _ isOver: Flag,
        _ random: inout SeededGenerator, _ loops: [IOLoop]
    ) throws -> [Task<Void, Never>] {
        var tasks: [Task<Void, Never>] = []
        for number in 0..<3 {
            let guest = ChainGuest(
                backend: try rig.graph.attachWriter(
                    rig.top,
                    permissions: PermissionPair(
                        used: [.consistentRead, .write], shared: [.consistentRead, .write, .writeUnchanged])),
                number: number, count: 3, model: model, problems: problems, isOver: isOver)
            let seed = random.next()
            tasks.append(
                Task(executorPreference: loops[number % loops.count]) { await guest.run(SeededGenerator(seed: seed)) })
        }
        return tasks
    }

    @GraphActor
    private static func start(_ plan: Plan, _ rig: ChainRig, _ course: Course, isStream: Bool) async throws -> Job {
        var options = Job.Options(id: "j", type: isStream ? .stream : .commit)
        options.isBlockJob = true
        options.autoDismiss = false
        if course == .slow || course == .cancelled { options.speed = 4 << 20 }
        let policy: JobErrorPolicy = course == .stop ? .stop : course == .ignore ? .ignore : .report
        let job: Job
        if isStream {
            var stream = StreamJob.Options()
            stream.onError = policy
            stream.backingFile = plan.backing.map { "layer\($0)" }
            let base = plan.backing.map { rig.layers[$0] }
            job = try await StreamJob.create(
                options, stream, StreamJob.Chain(from: rig.layers[plan.image], above: base), in: rig.jobs,
                factory: rig.factory)
        } else {
            var commit = CommitJob.Options()
            commit.onError = policy
            commit.backingFile = plan.backing.map { "layer\($0)" }
            job = try await CommitJob.create(
                options, commit, device: rig.top, top: rig.layers[plan.top], base: rig.layers[plan.backing ?? 0],
                in: rig.jobs, factory: rig.factory)
        }
        rig.jobs.start(job)
        return job
    }

    /// Does to the job what the course says.
    @GraphActor
    private static func accompany(
        _ job: Job, _ rig: ChainRig, _ course: Course, _ random: inout SeededGenerator
    ) async throws {
        for _ in 0..<Int.random(in: 0...30, using: &random) { await Task.yield() }
        switch course {
        case .plain, .slow, .report, .ignore: return
        case .cancelled: try? await rig.command { try await job.cancel(force: true) }
        case .paused:
            try? job.pause()
            await rig.wait(for: job, .paused)
            if !job.status.isOver { try? job.resume() }
        case .stop:
            await rig.wait(for: job, .paused)
            if job.status == .paused { try job.resume() }
        }
    }
}
