import BlockGraph

/// Where a job stands in its life, and what has been asked of it: the rules of the states, without any work or waiting.
public struct JobState: Hashable, Sendable {
    /// The job's name.
    public let id: String
    /// The state.
    public private(set) var status = JobStatus.undefined
    /// Whether a client has paused the job, and it may not go on until a client resumes it.
    public private(set) var isUserPaused = false
    /// Whether the job is to end without its result.
    public private(set) var isCancelled = false
    /// Whether a client wants a job that is ready to complete.
    public private(set) var isCompleting = false
    /// Whether a job that completes is to keep its copy only, as a client has cancelled it without force.
    public internal(set) var endsSoftly = false
    /// How many reasons there are to pause, a client's included.
    public private(set) var pauseCount = 0

    /// A job that has not been made yet.
    public init(id: String) {
        self.id = id
    }

    /// Goes on to another state, which must be one that may follow.
    public mutating func move(to next: JobStatus) {
        precondition(status.successors.contains(next), "job '\(id)' cannot go from \(status) to \(next)")
        status = next
    }

    /// Checks that the job takes a verb now. Error: "Job 'ID' in state 'STATUS' cannot accept command verb 'VERB'".
    public func check(_ verb: JobVerb) throws(BlockError) {
        guard verb.statuses.contains(status) else {
            throw BlockError(
                "Job '\(id)' in state '\(status.rawValue)' cannot accept command verb '\(verb.rawValue)'")
        }
    }

    /// A client pauses the job.
    public mutating func userPause() throws(BlockError) {
        try check(.pause)
        guard !isUserPaused else { throw BlockError("Job is already paused") }
        isUserPaused = true
        pauseCount += 1
    }

    /// A client lets the job go on.
    public mutating func userResume() throws(BlockError) {
        guard isUserPaused else { throw BlockError("Can't resume a job that was not paused") }
        try check(.resume)
        isUserPaused = false
        pauseCount -= 1
    }

    /// The daemon has a reason to pause the job (`delta` 1), or has it no longer (-1).
    public mutating func changePauseCount(by delta: Int) {
        precondition(pauseCount + delta >= 0, "job '\(id)' is resumed more often than paused")
        pauseCount += delta
    }

    /// An error pauses the job until a client resumes it.
    public mutating func pauseForError() {
        guard !isUserPaused else { return }
        isUserPaused = true
        pauseCount += 1
    }

    /// The job is to end without its result. A client's pause ends.
    public mutating func cancel() {
        isCancelled = true
        if isUserPaused {
            isUserPaused = false
            pauseCount -= 1
        }
    }

    /// A client wants the job to complete.
    public mutating func complete() throws(BlockError) {
        try check(.complete)
        isCompleting = true
    }

    /// Whether the job stops at its next pause point.
    public var mustPause: Bool { pauseCount > 0 && !isCancelled }
    /// The state of a pause.
    public var pausedStatus: JobStatus { status == .ready ? .standby : .paused }
    /// Whether the job has told that it can be completed.
    public var isReady: Bool { status == .ready || status == .standby }
}
