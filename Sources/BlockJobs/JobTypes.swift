/// The kinds of jobs. The raw values are the names of QMP.
public enum JobType: String, CaseIterable, Hashable, Sendable {
    case commit, stream, mirror, backup, create, amend
    case snapshotLoad = "snapshot-load"
    case snapshotSave = "snapshot-save"
    case snapshotDelete = "snapshot-delete"
}

/// The states of a job. The raw values are the names of QMP.
public enum JobStatus: String, CaseIterable, Hashable, Sendable {
    /// Not made yet; nobody sees it.
    case undefined
    /// Made, not started.
    case created
    /// At work.
    case running
    /// Stopped on request while running.
    case paused
    /// Has reached a state from which it can be completed, and stays there.
    case ready
    /// Stopped on request while ready.
    case standby
    /// Done; other jobs of the transaction are not.
    case waiting
    /// Done but for the last step.
    case pending
    /// Failing, or being cancelled.
    case aborting
    /// Over; its outcome can be asked for.
    case concluded
    /// Gone.
    case null

    /// The states that may follow.
    public var successors: Set<JobStatus> {
        switch self {
        case .undefined: [.created]
        case .created: [.running, .aborting, .null]
        case .running: [.paused, .ready, .waiting, .aborting]
        case .paused: [.running]
        case .ready: [.standby, .waiting, .aborting]
        case .standby: [.ready]
        case .waiting: [.pending, .aborting]
        case .pending: [.aborting, .concluded]
        case .aborting: [.aborting, .concluded]
        case .concluded: [.null]
        case .null: []
        }
    }

    /// Whether the job does nothing any more but being looked at.
    public var isOver: Bool { self == .concluded || self == .null }
    /// Whether the job's work is done or given up.
    public var hasEndedWork: Bool { [.waiting, .pending, .aborting, .concluded, .null].contains(self) }
}

/// What clients ask of a job. The raw values are the names of QMP.
public enum JobVerb: String, CaseIterable, Hashable, Sendable {
    case cancel, pause, resume
    case setSpeed = "set-speed"
    case complete, finalize, dismiss, change

    /// The states in which a job takes the verb.
    public var statuses: Set<JobStatus> {
        switch self {
        case .cancel: [.created, .running, .paused, .ready, .standby, .waiting, .pending]
        case .pause, .resume, .setSpeed, .change: [.created, .running, .paused, .ready, .standby]
        case .complete: [.ready, .standby]
        case .finalize: [.pending]
        case .dismiss: [.concluded]
        }
    }
}
