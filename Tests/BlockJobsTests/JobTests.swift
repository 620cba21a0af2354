import BlockGraph
import IOLoop
import StorageTestSupport
import Testing

@testable import BlockJobs

/// A job that does steps when the test lets it.
@GraphActor
private final class StepJob: JobBody {
    var calls: [String] = []
    var failure: BlockError?
    var prepareFailure: BlockError?
    var becomesReady = false
    var endsSoftly = false
    private var isOpen = false
    private let gate = WaitQueue()

    func open() {
        isOpen = true
        gate.notifyAll()
    }

    func run(_ job: Job) async throws(BlockError) {
        calls.append("run")
        job.setRemaining(10)
        while !isOpen, !job.isCancelled {
            await job.pausePoint()
            await gate.wait(unless: { isOpen || job.isCancelled })
        }
        await job.pausePoint()
        if job.isCancelled { return }
        job.advance(by: 10)
        if becomesReady { await job.becomeReady() }
        if let failure { throw failure }
    }
    func prepare() async throws(BlockError) {
        calls.append("prepare")
        if let prepareFailure { throw prepareFailure }
    }
    func commit() async { calls.append("commit") }
    func abort() async { calls.append("abort") }
    func clean() async { calls.append("clean") }
    func poke() { gate.notifyAll() }
}

/// A list with a record of what it tells.
@GraphActor
private final class Rig {
    private(set) var events: [String] = []
    private let changes = WaitQueue()
    private(set) lazy var list = JobList { [unowned self] event in
        switch event {
        case .statusChange(let id, let status): events.append("\(id) \(status.rawValue)")
        case .completed(let job, let error):
            events.append("\(job.id) COMPLETED \(error ?? "") \(job.offset)/\(job.length)")
        case .cancelled(let job): events.append("\(job.id) CANCELLED")
        case .ready(let job): events.append("\(job.id) READY")
        case .pending(let id, _): events.append("\(id) PENDING")
        case .error(let id, let isRead, let action): events.append("\(id) ERROR \(isRead) \(action.rawValue)")
        }
        changes.notifyAll()
    }

    func start(
        _ id: String, _ body: StepJob, in transaction: JobTransaction = JobTransaction(),
        _ change: (inout Job.Options) -> Void = { _ in }
    ) throws -> Job {
        var options = Job.Options(id: id, type: .backup)
        options.isBlockJob = true
        change(&options)
        let job = try list.create(options, in: transaction, body: body)
        list.start(job)
        return job
    }

    func wait(for event: String) async {
        await changes.wait(until: { events.contains(event) })
    }

    nonisolated static func run(_ body: @escaping @Sendable @GraphActor (Rig) async throws -> Void) async throws {
        startMainLoop()
        let task = GraphActor.spawn { () async -> Result<Void, any Error> in
            do {
                return .success(try await body(Rig()))
            } catch {
                return .failure(error)
            }
        }
        try await task.value.get()
    }
}

@Suite struct JobTests {
    private static func errorText(_ body: @GraphActor () async throws(BlockError) -> Void) async -> String? {
        do {
            try await body()
            return nil
        } catch {
            return error.description
        }
    }

    @Test func `a job runs, concludes and goes away`() async throws {
        try await Rig.run { rig in
            let body = StepJob()
            body.open()
            _ = try rig.start("j", body)
            await rig.wait(for: "j null")
            #expect(
                rig.events == [
                    "j created", "j running", "j waiting", "j pending", "j COMPLETED  10/10", "j concluded", "j null",
                ])
            #expect(body.calls == ["run", "prepare", "commit", "clean"])
            #expect(rig.list.jobs.isEmpty)
        }
    }

    @Test func `without automatic steps a client finalizes and dismisses`() async throws {
        try await Rig.run { rig in
            let body = StepJob()
            body.open()
            let job = try rig.start("j", body) { ($0.autoFinalize, $0.autoDismiss) = (false, false) }
            await rig.wait(for: "j PENDING")
            let early = await Self.errorText { () async throws(BlockError) in try job.dismiss() }
            #expect(early == "Job 'j' in state 'pending' cannot accept command verb 'dismiss'")
            try await job.finalize()
            #expect(job.status == .concluded)
            try job.dismiss()
            #expect(rig.events.suffix(3) == ["j COMPLETED  10/10", "j concluded", "j null"])
        }
    }

    @Test func `a failure aborts`() async throws {
        try await Rig.run { rig in
            let body = StepJob()
            body.open()
            body.failure = BlockError("no luck")
            let job = try rig.start("j", body) { $0.autoDismiss = false }
            await rig.wait(for: "j concluded")
            #expect(
                rig.events == ["j created", "j running", "j aborting", "j COMPLETED no luck 10/10", "j concluded"])
            #expect(body.calls == ["run", "abort", "clean"])
            #expect(job.error == BlockError("no luck"))
        }
    }

    @Test func `a failure of the last step aborts`() async throws {
        try await Rig.run { rig in
            let body = StepJob()
            body.open()
            body.prepareFailure = BlockError("too late")
            _ = try rig.start("j", body)
            await rig.wait(for: "j null")
            #expect(rig.events.suffix(4) == ["j aborting", "j COMPLETED too late 10/10", "j concluded", "j null"])
        }
    }

    @Test func `a paused job stops, goes on, and ends when it is cancelled`() async throws {
        try await Rig.run { rig in
            let body = StepJob()
            let job = try rig.start("j", body)
            try job.pause()
            body.poke()
            await rig.wait(for: "j paused")
            try job.resume()
            try job.pause()
            try await job.cancel(force: true)
            body.poke()
            await rig.wait(for: "j null")
            #expect(rig.events.suffix(5) == ["j running", "j aborting", "j CANCELLED", "j concluded", "j null"])
            #expect(body.calls.suffix(2) == ["abort", "clean"])
        }
    }

    @Test func `a ready job completes when it is told to, also from standby`() async throws {
        try await Rig.run { rig in
            let body = StepJob()
            body.open()
            body.becomesReady = true
            let job = try rig.start("j", body)
            await rig.wait(for: "j READY")
            try job.pause()
            await rig.wait(for: "j standby")
            try job.complete()
            #expect(job.status == .standby)
            try job.resume()
            await rig.wait(for: "j null")
            #expect(
                rig.events == [
                    "j created", "j running", "j ready", "j READY", "j standby", "j ready", "j waiting", "j pending",
                    "j COMPLETED  10/10", "j concluded", "j null",
                ])
        }
    }

    @Test func `cancelling a ready job without force may give a result`() async throws {
        try await Rig.run { rig in
            for (id, soft, last) in [("s", true, "s COMPLETED  10/10"), ("h", false, "h CANCELLED")] {
                let body = StepJob()
                body.open()
                (body.becomesReady, body.endsSoftly) = (true, soft)
                let job = try rig.start(id, body) { $0.autoDismiss = false }
                await rig.wait(for: "\(id) READY")
                try await job.cancel(force: false)
                await rig.wait(for: "\(id) concluded")
                #expect(rig.events.suffix(2) == [last, "\(id) concluded"])
                try job.dismiss()
            }
        }
    }

    @Test func `jobs of a transaction wait for each other, the newest first`() async throws {
        try await Rig.run { rig in
            let transaction = JobTransaction()
            let (first, second) = (StepJob(), StepJob())
            _ = try rig.start("x", first, in: transaction)
            _ = try rig.start("y", second, in: transaction)
            second.open()
            await rig.wait(for: "y waiting")
            first.open()
            await rig.wait(for: "x null")
            #expect(
                rig.events.suffix(9) == [
                    "x waiting", "y pending", "x pending", "y COMPLETED  10/10", "y concluded", "y null",
                    "x COMPLETED  10/10", "x concluded", "x null",
                ])
        }
    }

    @Test func `a job that is cancelled takes its transaction with it`() async throws {
        try await Rig.run { rig in
            let transaction = JobTransaction()
            let (first, second) = (StepJob(), StepJob())
            let job = try rig.start("x", first, in: transaction)
            _ = try rig.start("y", second, in: transaction)
            second.open()
            await rig.wait(for: "y waiting")
            try await job.cancel(force: true)
            first.poke()
            await rig.wait(for: "x null")
            #expect(
                rig.events.suffix(8) == [
                    "x aborting", "y aborting", "y CANCELLED", "y concluded", "y null", "x CANCELLED", "x concluded",
                    "x null",
                ])
        }
    }

    @Test func `names and speeds are checked`() async throws {
        try await Rig.run { rig in
            let job = try rig.start("j", StepJob())
            for (id, text) in [
                ("", "Invalid job ID ''"), ("a b", "Invalid job ID 'a b'"), ("j", "Job ID 'j' already in use"),
            ] {
                let error = await Self.errorText { () async throws(BlockError) in
                    _ = try rig.list.create(Job.Options(id: id, type: .backup), body: StepJob())
                }
                #expect(error == text)
            }
            let error = await Self.errorText { () async throws(BlockError) in try job.setSpeed(-1) }
            #expect(error == "Parameter 'speed' expects a non-negative value")
            try job.setSpeed(100)
            #expect(job.speed == 100)
            try await job.cancel(force: true)
            (job.body as? StepJob)?.poke()
            await rig.wait(for: "j null")
        }
    }

    @Test func `errors follow their policy`() async throws {
        #expect(JobErrorPolicy.enospc.action(for: .ENOSPC) == .stop)
        #expect(JobErrorPolicy.enospc.action(for: .EIO) == .report)
        #expect(JobErrorPolicy.auto.action(for: .ENOSPC) == .stop)
        #expect(JobErrorPolicy.ignore.action(for: .EIO) == .ignore)
        try await Rig.run { rig in
            let body = StepJob()
            let job = try rig.start("j", body)
            #expect(job.handle(.ENOSPC, isRead: false, policy: .enospc) == .stop)
            #expect(job.ioError == .ENOSPC)
            body.poke()
            await rig.wait(for: "j paused")
            try job.resume()
            #expect(job.ioError == nil)
            body.open()
            await rig.wait(for: "j null")
            #expect(rig.events.contains("j ERROR false stop"))
        }
    }

    @Test func `the end of the daemon ends all jobs`() async throws {
        try await Rig.run { rig in
            let bodies = [StepJob(), StepJob(), StepJob()]
            for (index, body) in bodies.enumerated() { _ = try rig.start("j\(index)", body) }
            let end = GraphActor.spawn { await rig.list.cancelAll() }
            while rig.list.jobs.contains(where: { !$0.isCancelled }) { await Task.yield() }
            for body in bodies { body.poke() }
            await end.value
            #expect(rig.list.jobs.isEmpty)
        }
    }
}
