import BlockJobs
import IOLoop
import QMPSchema

extension QMPEvent {
    /// The event of a job as clients see it.
    init(_ event: JobEvent) {
        switch event {
        case .statusChange(let id, let status):
            self = .jobStatusChange(JobStatusChangeEvent(id: id, status: QMPSchema.JobStatus(status)))
        case .completed(let job, let error):
            self = .blockJobCompleted(
                BlockJobCompletedEvent(
                    type: QMPSchema.JobType(job.type), device: job.id, len: job.length, offset: job.offset,
                    speed: job.speed, error: error))
        case .cancelled(let job):
            self = .blockJobCancelled(
                BlockJobCancelledEvent(
                    type: QMPSchema.JobType(job.type), device: job.id, len: job.length, offset: job.offset,
                    speed: job.speed))
        case .ready(let job):
            self = .blockJobReady(
                BlockJobReadyEvent(
                    type: QMPSchema.JobType(job.type), device: job.id, len: job.length, offset: job.offset,
                    speed: job.speed))
        case .pending(let id, let type):
            self = .blockJobPending(BlockJobPendingEvent(type: QMPSchema.JobType(type), id: id))
        case .error(let id, let isRead, let action):
            self = .blockJobError(
                BlockJobErrorEvent(device: id, operation: isRead ? .read : .write, action: BlockErrorAction(action)))
        }
    }
}

extension QMPSchema.JobStatus {
    /// The state on the wire.
    init(_ status: BlockJobs.JobStatus) {
        self =
            switch status {
            case .undefined: .undefined
            case .created: .created
            case .running: .running
            case .paused: .paused
            case .ready: .ready
            case .standby: .standby
            case .waiting: .waiting
            case .pending: .pending
            case .aborting: .aborting
            case .concluded: .concluded
            case .null: .null
            }
    }
}

extension QMPSchema.JobType {
    /// The kind on the wire.
    init(_ type: BlockJobs.JobType) {
        self =
            switch type {
            case .commit: .commit
            case .stream: .stream
            case .mirror: .mirror
            case .backup: .backup
            case .create: .create
            case .amend: .amend
            case .snapshotLoad: .snapshotLoad
            case .snapshotSave: .snapshotSave
            case .snapshotDelete: .snapshotDelete
            }
    }
}

extension BlockErrorAction {
    /// The action on the wire.
    init(_ action: JobErrorAction) {
        self =
            switch action {
            case .ignore: .ignore
            case .report: .report
            case .stop: .stop
            }
    }
}

extension BlockJobInfo.Kind {
    /// The kind of a job with what only jobs of its kind tell.
    @GraphActor init(_ job: Job) {
        self =
            switch job.options.type {
            case .commit: .commit
            case .stream: .stream
            case .mirror: .mirror(BlockJobInfoMirror(activelySynced: job.isActivelySynced))
            case .backup: .backup
            case .create: .create
            case .amend: .amend
            case .snapshotLoad: .snapshotLoad
            case .snapshotSave: .snapshotSave
            case .snapshotDelete: .snapshotDelete
            }
    }
}
