import BlockGraph
import BlockTestSupport
import IOLoop
import StorageTestSupport
import Testing

@testable import BlockJobs

/// The order in which a job tells of what it copies at the same time.
@Suite struct OrderedCopyTests {
    /// A job whose body copies with a function of the test's.
    @GraphActor
    private final class CopyJob: JobBody {
        static let part = OrderedCopy.partSize

        let parts: Int64
        let policy: JobErrorPolicy
        let failures: OrderedCopy.Failures
        let copy: @Sendable (ByteRange) async throws(CopyUpError) -> Void

        init(
            parts: Int64, policy: JobErrorPolicy = .report, failures: OrderedCopy.Failures = .retried,
            copy: @escaping @Sendable (ByteRange) async throws(CopyUpError) -> Void
        ) {
            self.parts = parts
            self.policy = policy
            self.failures = failures
            self.copy = copy
        }

        func run(_ job: Job) async throws(BlockError) {
            job.setRemaining(parts * Self.part)
            let copy = copy
            try await OrderedCopy(
                job, length: parts * Self.part, policy: policy, failures: failures,
                scan: { (range) in OrderedCopy.Run(length: range.length, isCopied: true, isZero: false) },
                copy: { (range, _) async throws(CopyUpError) in try await copy(range) }
            ).run()
        }
    }

    /// The jobs of a test.
    @GraphActor
    private final class Rig {
        private(set) var errors = 0
        private let changes = WaitQueue()
        private(set) lazy var jobs = JobList { [unowned self] event in
            if case .error = event { errors += 1 }
            changes.notifyAll()
        }

        func start(_ body: CopyJob, speed: Int64 = 0) throws(BlockError) -> Job {
            var options = Job.Options(id: "j", type: .stream)
            options.isBlockJob = true
            options.autoDismiss = false
            options.speed = speed
            let job = try jobs.create(options, body: body)
            jobs.start(job)
            return job
        }

        func wait(for job: Job, _ status: JobStatus) async {
            await changes.wait(until: { job.status == status || job.status.isOver })
        }

        nonisolated static func run(_ body: @escaping @Sendable @GraphActor (Rig) async throws -> Void) async throws {
            try await onLoop { () async throws(any Error) in try await inside(body) }
        }

        private static func inside(_ body: @GraphActor (Rig) async throws -> Void) async throws {
            try await body(Rig())
        }
    }

    @Test func `progress is what lies before the first part that is not done`() async throws {
        try await Rig.run { rig in
            let gate = Pause(limit: 1)
            let done = Counter()
            let job = try rig.start(
                CopyJob(parts: 10) { (range) in
                    if range.lowerBound == 2 * OrderedCopy.partSize { await gate.hold() }
                    done.add()
                })
            while done.value < 9 { await Task.yield() }
            #expect(job.progress == 2 * OrderedCopy.partSize)
            gate.resume()
            await rig.wait(for: job, .concluded)
            #expect(job.progress == 10 * OrderedCopy.partSize)
            #expect(job.error == nil)
        }
    }

    @Test func `an error is told of where it is, however many parts came back before`() async throws {
        try await Rig.run { rig in
            let job = try rig.start(
                CopyJob(parts: 40) { (range) throws(CopyUpError) in
                    if range.lowerBound % (7 * OrderedCopy.partSize) == 5 * OrderedCopy.partSize {
                        throw CopyUpError(errno: .EIO, isRead: true)
                    }
                })
            await rig.wait(for: job, .concluded)
            #expect(job.progress == 5 * OrderedCopy.partSize)
            #expect(job.error?.description == "Input/output error")
            #expect(rig.errors == 1)
        }
    }

    @Test func `stopped by an error, it goes on where it was`() async throws {
        try await Rig.run { rig in
            let isBroken = Locked(true)
            let job = try rig.start(
                CopyJob(parts: 20, policy: .enospc) { (range) throws(CopyUpError) in
                    if isBroken.value, range.lowerBound == 3 * OrderedCopy.partSize {
                        throw CopyUpError(errno: .ENOSPC, isRead: false)
                    }
                })
            await rig.wait(for: job, .paused)
            #expect(job.progress == 3 * OrderedCopy.partSize)
            #expect(job.ioError == .ENOSPC)
            isBroken.withLock { $0 = false }
            try job.resume()
            await rig.wait(for: job, .concluded)
            #expect(job.error == nil)
            #expect(job.progress == 20 * OrderedCopy.partSize)
        }
    }

    @Test func `ignored errors are tried again, or fail the job in the end`() async throws {
        try await Rig.run { rig in
            let count = Counter()
            let failing: @Sendable (ByteRange) async throws(CopyUpError) -> Void = { (range) throws(CopyUpError) in
                guard range.lowerBound == 3 * OrderedCopy.partSize, count.value < 2 else { return }
                count.add()
                throw CopyUpError(errno: .EIO, isRead: true)
            }
            let patient = try rig.start(CopyJob(parts: 8, policy: .ignore, failures: .retried, copy: failing))
            await rig.wait(for: patient, .concluded)
            #expect(patient.error == nil)
            #expect(rig.errors == 2)
            try patient.dismiss()
            let fatal = try rig.start(
                CopyJob(parts: 8, policy: .ignore, failures: .fatal) { (range) throws(CopyUpError) in
                    if range.lowerBound == 3 * OrderedCopy.partSize { throw CopyUpError(errno: .EIO, isRead: true) }
                })
            await rig.wait(for: fatal, .concluded)
            #expect(fatal.error?.description == "Input/output error")
            #expect(fatal.progress == 8 * OrderedCopy.partSize)
        }
    }

    @Test func `a limit does not hold errors back, and taking it away counts at once`() async throws {
        try await Rig.run { rig in
            let failing = try rig.start(
                CopyJob(parts: 4) { (_) throws(CopyUpError) in throw CopyUpError(errno: .EIO, isRead: true) }, speed: 1)
            await rig.wait(for: failing, .concluded)
            #expect(failing.error != nil)
            try failing.dismiss()
            let count = Counter()
            let job = try rig.start(CopyJob(parts: 4) { (_) in count.add() }, speed: 1)
            while count.value < 1 { await Task.yield() }
            try job.setSpeed(0)
            await rig.wait(for: job, .concluded)
            #expect(count.value == 4)
        }
    }

    @Test func `a job that is cancelled waits for its requests`() async throws {
        try await Rig.run { rig in
            let gate = Pause(limit: 1)
            let begun = Counter()
            let job = try rig.start(
                CopyJob(parts: 100) { (_) in
                    begun.add()
                    await gate.hold()
                })
            while begun.value < 1 { await Task.yield() }
            try await job.cancel(force: true)
            #expect(job.status == .running)
            gate.resume()
            await rig.wait(for: job, .concluded)
            #expect(job.error?.errno == .ECANCELED)
        }
    }
}
