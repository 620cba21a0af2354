import BlockGraph
import IOLoop

/// What a job does. The job calls these functions on the control plane, one after the other.
@GraphActor
public protocol JobBody: AnyObject {
    /// Does the work. To be paused and cancelled, it calls `job.pausePoint()` between its steps, and waits with `job`.
    ///
    /// An error ends the job without its result. The work of a cancelled job may end either way.
    func run(_ job: Job) async throws(BlockError)
    /// The last step that can fail, after all jobs of the transaction have done their work.
    func prepare() async throws(BlockError)
    /// The job succeeds. Cannot fail.
    func commit() async
    /// The job fails or is cancelled, and leaves no trace. Cannot fail.
    func abort() async
    /// Lets go of everything, after `commit` or `abort`.
    func clean() async
    /// What is done and what that is expected to become, where the body counts it; nil where the job does.
    var progress: (done: Int64, total: Int64)? { get }
    /// Whether a client who cancels the job while it is ready, without force, gets a result all the same.
    var endsSoftly: Bool { get }
    /// Whether the job keeps two disks the same at each moment, and they are.
    var isActivelySynced: Bool { get }
    /// A client changes options of the running job. Error: there is nothing to be changed.
    func change(_ options: any Sendable) throws(BlockError)
}

extension JobBody {
    public func prepare() async throws(BlockError) {}
    public func commit() async {}
    public func abort() async {}
    public func clean() async {}
    public var progress: (done: Int64, total: Int64)? { nil }
    public var endsSoftly: Bool { false }
    public var isActivelySynced: Bool { false }
    public func change(_ options: any Sendable) throws(BlockError) {
        throw BlockError("Job type does not support change")
    }
}

/// What jobs tell their clients.
public enum JobEvent: Hashable, Sendable {
    /// The numbers of a job that its events carry.
    public struct Figures: Hashable, Sendable {
        public let id: String
        public let type: JobType
        /// The total of the work and what is done, in bytes.
        public let length: Int64
        public let offset: Int64
        /// The limit in bytes for each second, 0 for none.
        public let speed: Int64
    }

    /// A job is in another state.
    case statusChange(id: String, status: JobStatus)
    /// A block job has ended; with an error, or without.
    case completed(Figures, error: String?)
    /// A block job was cancelled.
    case cancelled(Figures)
    /// A block job can be completed.
    case ready(Figures)
    /// A block job waits for its last step to be allowed.
    case pending(id: String, type: JobType)
    /// A request of a block job failed, and what is done about that.
    case error(id: String, isRead: Bool, action: JobErrorAction)
}

/// What a job does about a request that failed. The raw values are the names of QMP.
public enum JobErrorAction: String, Hashable, Sendable {
    /// Goes on, as if it had succeeded or later again.
    case ignore
    /// Fails.
    case report
    /// Pauses until a client resumes it.
    case stop
}

/// What a job is told to do about requests that fail. The raw values are the names of QMP.
public enum JobErrorPolicy: String, Hashable, Sendable {
    case ignore, report, stop
    /// Stops where there is no space left, and fails otherwise.
    case enospc
    /// As the device of the guest does; without one, as `enospc`.
    case auto

    /// What is done about an error.
    public func action(for errno: Errno) -> JobErrorAction {
        switch self {
        case .ignore: .ignore
        case .report: .report
        case .stop: .stop
        case .enospc, .auto: errno == .ENOSPC ? .stop : .report
        }
    }
}
