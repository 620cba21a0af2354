import BlockGraph
import BlockJobs
import IOLoop
import QAPI
import QMPSchema

/// Jobs: the `job-` commands, and their older relatives for block jobs.
extension StorageDaemon {
    func jobPause(_ arguments: JobPauseArguments) async throws(QMPError) {
        try await withJob(arguments.id) { (job) throws(BlockError) in try job.pause() }
    }

    func jobResume(_ arguments: JobResumeArguments) async throws(QMPError) {
        try await withJob(arguments.id) { (job) throws(BlockError) in try job.resume() }
    }

    func jobCancel(_ arguments: JobCancelArguments) async throws(QMPError) {
        try await withJob(arguments.id) { (job) async throws(BlockError) in try await job.cancel(force: true) }
    }

    func jobComplete(_ arguments: JobCompleteArguments) async throws(QMPError) {
        try await withJob(arguments.id) { (job) throws(BlockError) in try job.complete() }
    }

    func jobDismiss(_ arguments: JobDismissArguments) async throws(QMPError) {
        try await withJob(arguments.id) { (job) throws(BlockError) in try job.dismiss() }
    }

    func jobFinalize(_ arguments: JobFinalizeArguments) async throws(QMPError) {
        try await withJob(arguments.id) { (job) async throws(BlockError) in try await job.finalize() }
    }

    func queryJobs() async throws(QMPError) -> [JobInfo] { jobs.jobs.map { JobInfo($0) } }

    private func withJob(
        _ id: String, _ body: @GraphActor (Job) async throws(BlockError) -> Void
    ) async throws(QMPError) {
        do {
            try await body(try jobs.job(id))
        } catch {
            throw QMPError(error)
        }
    }
}

// MARK: Block jobs

extension StorageDaemon {
    func blockJobPause(_ arguments: BlockJobPauseArguments) async throws(QMPError) {
        try await withBlockJob(arguments.device) { (job) throws(BlockError) in try job.pause() }
    }

    func blockJobResume(_ arguments: BlockJobResumeArguments) async throws(QMPError) {
        try await withBlockJob(arguments.device) { (job) throws(BlockError) in try job.resume() }
    }

    func blockJobCancel(_ arguments: BlockJobCancelArguments) async throws(QMPError) {
        try await withBlockJob(arguments.device) { (job) async throws(BlockError) in
            guard !job.isUserPaused || arguments.force == true else {
                throw BlockError("The block job for device '\(job.id)' is currently paused")
            }
            try await job.cancel(force: arguments.force == true)
        }
    }

    func blockJobComplete(_ arguments: BlockJobCompleteArguments) async throws(QMPError) {
        try await withBlockJob(arguments.device) { (job) throws(BlockError) in try job.complete() }
    }

    func blockJobDismiss(_ arguments: BlockJobDismissArguments) async throws(QMPError) {
        try await withBlockJob(arguments.id) { (job) throws(BlockError) in try job.dismiss() }
    }

    func blockJobFinalize(_ arguments: BlockJobFinalizeArguments) async throws(QMPError) {
        try await withBlockJob(arguments.id) { (job) async throws(BlockError) in try await job.finalize() }
    }

    func blockJobSetSpeed(_ arguments: BlockJobSetSpeedArguments) async throws(QMPError) {
        try await withBlockJob(arguments.device) { (job) throws(BlockError) in try job.setSpeed(arguments.speed) }
    }

    func blockJobChange(_ options: BlockJobChangeOptions) async throws(QMPError) {
        try await withBlockJob(options.id) { (job) throws(BlockError) in
            guard case .mirror(let change) = options.type else { throw BlockError("Job type does not support change") }
            try job.change(MirrorChange(isWriteBlocking: change.copyMode == .writeBlocking))
        }
    }

    func queryBlockJobs() async throws(QMPError) -> [BlockJobInfo] {
        jobs.jobs.filter(\.options.isBlockJob).map { BlockJobInfo($0) }
    }

    private func withBlockJob(
        _ id: String, _ body: @GraphActor (Job) async throws(BlockError) -> Void
    ) async throws(QMPError) {
        guard let job = jobs.blockJob(id) else { throw QMPError(.deviceNotActive, "Block job '\(id)' not found") }
        try await reporting { () async throws(BlockError) in try await body(job) }
    }
}

extension JobInfo {
    /// What a client is told of a job.
    @GraphActor init(_ job: Job) {
        self.init(
            id: job.id, type: QMPSchema.JobType(job.options.type), status: QMPSchema.JobStatus(job.status),
            currentProgress: job.progress, totalProgress: job.total, error: job.error?.description)
    }
}

extension BlockJobInfo {
    /// What a client is told of a block job.
    @GraphActor init(_ job: Job) {
        let status: BlockDeviceIoStatus =
            switch job.ioError {
            case nil: .ok
            case .ENOSPC?: .nospace
            case _?: .failed
            }
        self.init(
            type: Kind(job), device: job.id, len: job.total, offset: job.progress, busy: job.isBusy,
            paused: job.state.pauseCount > 0, speed: job.speed, ioStatus: status, ready: job.state.isReady,
            status: QMPSchema.JobStatus(job.status), autoFinalize: job.options.autoFinalize,
            autoDismiss: job.options.autoDismiss, error: job.error?.description)
    }
}
