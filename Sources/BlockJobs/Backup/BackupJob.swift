import BlockDrivers
import BlockGraph
import IOLoop

/// Copies what a node held at one instant to another node, while its guest goes on writing.
///
/// A copy-before-write filter sits above the source as long as the job is there. It and the job share the knowledge of what is
/// to be copied still, so that each cluster is copied once.
@GraphActor
public final class BackupJob: JobBody {
    /// What is copied.
    public enum Sync: Hashable, Sendable {
        /// Everything, or what a bitmap says.
        case all
        /// What lies in the topmost image.
        case top
        /// Only what the guest overwrites, until the job is cancelled.
        case none
    }

    /// What a bitmap holds afterwards, besides what was written meanwhile.
    public enum BitmapMode: Hashable, Sendable {
        /// Nothing more where the job succeeds, else what it held before.
        case onSuccess
        /// What it held before.
        case never
        /// What should have been copied and was not.
        case always
    }

    /// How the work is done.
    public struct Options: Sendable {
        /// What is copied.
        public var sync = Sync.all
        /// What to do when the source cannot be read.
        public var onSourceError = JobErrorPolicy.report
        /// What to do when the target cannot be written.
        public var onTargetError = JobErrorPolicy.report
        /// The most copies at the same time; 1 or more.
        public var maximumWorkers = 64

        /// The usual ones.
        public init() {}
    }

    private let options: Options
    private let filter: BlockNode
    private let driver: CopyBeforeWriteDriver
    private let copy: BackgroundCopy
    private let bitmap: SynchronisedBitmap?
    /// Where the copies pass: they are stopped in drained sections.
    var backend: BlockBackend?

    /// The most tasks that copy, and what one copies at a time where there is a limit to the speed.
    private static let maximumWorkers = 64
    private static let limitedChunk: Int64 = 1 << 20

    init(
        _ options: Options, filter: BlockNode, driver: CopyBeforeWriteDriver, copy: BackgroundCopy,
        bitmap: SynchronisedBitmap?
    ) {
        self.options = options
        self.filter = filter
        self.driver = driver
        self.copy = copy
        self.bitmap = bitmap
    }

    // MARK: The work

    public func run(_ job: Job) async throws(BlockError) {
        copy.observeBreak { [weak job] in job?.changed() }
        if options.sync == .none {
            await job.wait(until: { copy.error != nil })
            return try checkWhole()
        }
        if options.sync == .top { await dropUnallocated(job) }
        while !copy.isComplete {
            await job.pausePoint()
            guard !job.isCancelled else { return }
            if job.speed > 0 { try await copyOne(job) } else { try await copyMany(job) }
        }
        try await flushTarget(job)
    }

    private func checkWhole() throws(BlockError) {
        if let error = copy.error { throw BlockError(error.description, errno: error) }
    }

    /// Goes through the source's allocation before anything is copied.
    private func dropUnallocated(_ job: Job) async {
        var offset: Int64? = 0
        while let start = offset, !job.isCancelled {
            await job.pausePoint()
            offset = await copy.dropUnallocated(from: start, through: backend)
        }
    }

    /// Copies one area, and rests as the limit of speed demands.
    private func copyOne(_ job: Job) async throws(BlockError) {
        switch await copy.copyNext(through: backend, limit: Self.limitedChunk, zeroLimit: Self.limitedChunk) {
        case .copied(let length): await job.throttle(length)
        case .finished:
            await copy.waitForOthers()
            copy.rewind()
        case .failed(let errno, let isRead):
            try await handle(errno, isRead: isRead, job)
            copy.rewind()
        case .broken: try checkWhole()
        }
    }

    /// Copies with many tasks, until all is copied, something fails, or the job must do something else.
    private func copyMany(_ job: Job) async throws(BlockError) {
        copy.rewind()
        let workers = CopyWorkers(copy, through: backend)
        workers.start(count: min(options.maximumWorkers, Self.maximumWorkers)) { job.changed() }
        await job.waitAtWork(until: { workers.areIdle || job.speed > 0 })
        workers.stop()
        await workers.waitUntilIdle()
        if let (errno, isRead) = workers.failure { return try await handle(errno, isRead: isRead, job) }
        try checkWhole()
        // What guest writes are copying may come back, if that fails.
        if workers.hasFinished { await copy.waitForOthers() }
    }

    private func handle(_ errno: Errno, isRead: Bool, _ job: Job) async throws(BlockError) {
        guard !job.isCancelled else { return }
        let policy = isRead ? options.onSourceError : options.onTargetError
        switch job.handle(errno, isRead: isRead, policy: policy) {
        case .report: throw BlockError(errno.description, errno: errno)
        // An error that stays would be told of without a pause.
        case .ignore: await job.rest(until: MonotonicTime.now.advanced(by: .milliseconds(100)))
        case .stop: break
        }
    }

    /// A backup that has succeeded is durable.
    private func flushTarget(_ job: Job) async throws(BlockError) {
        while !job.isCancelled {
            guard let errno = await copy.flushTarget(through: backend) else { return }
            try await handle(errno, isRead: false, job)
            await job.pausePoint()
        }
    }

    // MARK: The end

    public var progress: (done: Int64, total: Int64)? {
        let (copied, total) = copy.progress
        return (copied, total)
    }

    public func commit() async { bitmap?.finish(succeeded: true, remainder: copy.remainder) }
    public func abort() async { bitmap?.finish(succeeded: false, remainder: copy.remainder) }

    public func clean() async {
        backend = nil
        await driver.removeFilter(filter)
    }
}
