import BlockDrivers
import BlockGraph
import BlockTestSupport
import IOLoop
import StorageTestSupport
import Testing

@testable import BlockJobs

/// Backups whose requests fail, and ends at every state.
@Suite struct BackupErrorTests {
    private static let length = 8 << 20

    /// Which request fails, and how.
    struct Fault: Sendable, CustomTestStringConvertible {
        let isRead: Bool
        let errno: Errno
        let policy: JobErrorPolicy
        var testDescription: String { "\(isRead ? "read" : "write"), \(errno), \(policy)" }
    }

    private static let faults = [true, false].flatMap { isRead in
        [Errno.EIO, .ENOSPC].flatMap { errno in
            [JobErrorPolicy.report, .ignore, .stop, .enospc, .auto].map {
                Fault(isRead: isRead, errno: errno, policy: $0)
            }
        }
    }

    private static func run(
        _ body: @escaping @Sendable @GraphActor (BackupRig, MemoryDriver, MemoryDriver) async throws -> Void
    ) async throws {
        startMainLoop()
        let task = GraphActor.spawn { () async -> Result<Void, any Error> in
            do {
                let source = MemoryDriver(pattern(length, 0x11))
                let target = MemoryDriver(pattern(length, 0x22))
                let rig = try await BackupRig(source: source, target: target)
                try await body(rig, source, target)
                await rig.close("")
                return .success(())
            } catch {
                return .failure(error)
            }
        }
        try await task.value.get()
    }

    @Test(arguments: faults) func `a failed request does what the policy says`(_ fault: Fault) async throws {
        try await Self.run { rig, source, target in
            let bad = Int64(2 << 20)..<Int64(2 << 20) + 1
            if fault.isRead {
                source.fail(.read, with: fault.errno, in: bad, count: 1)
            } else {
                target.fail(.write, with: fault.errno, in: bad, count: 1)
            }
            let job = try await rig.start { request in
                request.options.onSourceError = fault.isRead ? fault.policy : .report
                request.options.onTargetError = fault.isRead ? .report : fault.policy
            }
            let action = fault.policy.action(for: fault.errno)
            await rig.wait(until: { $0.contains(.error(id: "j", isRead: fault.isRead, action: action)) })
            if action == .stop {
                await rig.wait(for: job, .paused)
                #expect(job.ioError == fault.errno && job.isUserPaused)
                try job.resume()
            }
            await rig.wait(for: job, .null)
            if action == .report {
                #expect(job.error?.description == fault.errno.description)
                #expect(job.progress == job.total - (1 << 20))
            } else {
                #expect(job.error == nil && target.bytes == source.bytes)
                #expect(job.progress == Int64(Self.length) && job.total == job.progress)
            }
        }
    }

    @Test(arguments: [1 << 16, 1 << 20, 4 << 20, 16 << 20]) func `copies in flight are bounded`(_ chunk: Int)
        async throws
    {
        try await Self.run { rig, source, target in
            let pause = source.pause(.read)
            let job = try await rig.start { $0.maximumChunk = Int64(chunk) }
            await pause.waitUntilHeld()
            await letOthersRun()
            let reads = source.requests.filter { $0.operation == .read }
            #expect(reads.reduce(0) { $0 + $1.range.length } <= 8 << 20)
            pause.resume()
            await rig.wait(for: job, .null)
            #expect(job.error == nil && target.bytes == source.bytes)
        }
    }

    @Test(arguments: [true, false])
    func `a failed backup leaves in the bitmap what was not copied`(_ always: Bool) async throws {
        try await Self.run { rig, source, _ in
            let bitmap = try rig.graph.addBitmap(named: "b", to: rig.source, granularity: 65536)
            bitmap.withBits { $0.set(0..<65536) }
            source.fail(.read, in: Int64(2 << 20)..<Int64(2 << 20) + 1)
            let job = try await rig.start { request in
                request.bitmap = (bitmap, always ? .always : .onSuccess)
                request.options.maximumWorkers = 1
            }
            await rig.wait(for: job, .null)
            let expected: [ByteRange] = always ? [Int64(2 << 20)..<Int64(Self.length)] : [0..<65536]
            #expect(Array(bitmap.snapshot().dirtyAreas) == expected)
            #expect(!bitmap.isBusy && bitmap.isRecording)
        }
    }

    @Test func `a point in time that breaks fails the job`() async throws {
        for sync in [BackupJob.Sync.none, .all] {
            try await Self.run { rig, _, target in
                target.fail(.write, with: .ENOSPC)
                target.fail(.writeZeroes, with: .ENOSPC)
                let job = try await rig.start { request in
                    request.options.sync = sync
                    request.onCopyError = .breakSnapshot
                    request.job.speed = 1
                }
                try await rig.guest.write([1, 2, 3], at: 1 << 20)
                await rig.wait(for: job, .null)
                #expect(job.error?.description == Errno.ENOSPC.description)
            }
        }
    }

    /// Where a job is when it is cancelled.
    enum Moment: String, CaseIterable, Sendable {
        case created, running, limited, paused, stopped, pending, drained
    }

    @Test(arguments: Moment.allCases) func `a backup can be cancelled at every state`(_ moment: Moment) async throws {
        try await Self.run { rig, source, target in
            let hold = moment == .running ? source.pause(.read, limit: 1) : nil
            if moment == .stopped { target.fail(.write) }
            if moment == .created {
                var options = Job.Options(id: "j", type: .backup)
                options.isBlockJob = true
                let request = BackupJob.Request(options, source: rig.source, target: rig.target)
                try await rig.graph.drained([rig.source, rig.target]) { () async throws(BlockError) in
                    try await BackupJob.create(request, in: rig.jobs).cancel(force: true)
                }
                #expect(rig.statuses == [.created, .aborting, .concluded, .null])
                return
            }
            let job = try await rig.start { request in
                request.job.autoFinalize = false
                request.job.speed = moment == .limited || moment == .paused ? 1 : 0
                request.options.onTargetError = .stop
            }
            switch moment {
            case .running: await hold?.waitUntilHeld()
            case .paused:
                try job.pause()
                await rig.wait(for: job, .paused)
            case .stopped: await rig.wait(for: job, .paused)
            case .pending: await rig.wait(for: job, .pending)
            case .drained: try await rig.graph.drained([rig.source]) { () async throws(BlockError) in }
            case .created, .limited: break
            }
            try await rig.command { try await job.cancel(force: true) }
            hold?.resume()
            await rig.wait(for: job, .null)
            #expect(rig.statuses.suffix(3) == [.aborting, .concluded, .null])
            #expect(job.error?.description == "Operation canceled")
        }
    }

    @Test func `a job that cannot be made leaves nothing`() async throws {
        try await Self.run { rig, _, _ in
            let bitmap = try rig.graph.addBitmap(named: "b", to: rig.source, granularity: 65536)
            bitmap.withBits { $0.set(0..<65536) }
            for change in [
                { (request: inout BackupJob.Request) in request.filterName = "source" },
                { request in request.minimumClusterSize = 3 },
                { request in request.maximumChunk = 1 },
                { request in request.job.speed = -1 },
                { request in request.filterName = "1" },
            ] as [@GraphActor (inout BackupJob.Request) -> Void] {
                let error = await failure { () async throws(any Error) in
                    _ = try await rig.start { request in
                        request.bitmap = (bitmap, .always)
                        change(&request)
                    }
                }
                #expect(error != nil)
                #expect(bitmap.snapshot().dirtyByteCount == 65536 && !bitmap.isBusy)
                #expect(rig.graph.nodes.count == 2 && rig.source.bitmaps.all.count == 1)
            }
        }
    }
}
