import BlockGraph
import IOLoop

/// A long operation that clients watch and steer. Lives on the control plane; its work may use any loop.
@GraphActor
public final class Job {
    /// How a job is made.
    public struct Options: Hashable, Sendable {
        /// The name.
        public var id: String
        /// The kind.
        public var type: JobType
        /// Whether it belongs to the family of `block-job-` commands and events.
        public var isBlockJob = false
        /// Whether the last step follows without a client's word.
        public var autoFinalize = true
        /// Whether the job goes away when it is over.
        public var autoDismiss = true
        /// The limit in bytes for each second, 0 for none.
        public var speed: Int64 = 0

        /// The usual options.
        public init(id: String, type: JobType) {
            self.id = id
            self.type = type
        }
    }

    /// The nodes that the job uses.
    public private(set) lazy var nodes = JobNodes(self)
    /// How the job was made.
    public nonisolated let options: Options
    /// Where it stands.
    public internal(set) var state: JobState
    /// The work done so far; its unit is the job's.
    public var progress: Int64 { body.progress?.done ?? ownProgress }
    /// What `progress` is expected to become.
    public var total: Int64 { body.progress?.total ?? ownTotal }
    /// Why the job failed.
    public internal(set) var error: BlockError?
    /// Whether a request has failed that the job is paused for: nothing, or out of space, or another error.
    public internal(set) var ioError: Errno?
    /// Whether the body is at work at this moment rather than waiting.
    public var isBusy: Bool { state.status == .running && !isWaiting }

    private var ownProgress: Int64 = 0
    private var ownTotal: Int64 = 0
    let body: any JobBody
    unowned let list: JobList
    var transaction: JobTransaction
    var limiter = RateLimiter()
    var isWaiting = false
    /// Wakes the body from pauses and waits.
    nonisolated let changes = WaitQueue()

    init(_ options: Options, body: any JobBody, list: JobList, transaction: JobTransaction) {
        self.options = options
        self.body = body
        self.list = list
        self.transaction = transaction
        state = JobState(id: options.id)
        limiter.setSpeed(options.speed)
    }

    /// Whether the job keeps two disks the same at each moment, and they are.
    public var isActivelySynced: Bool { body.isActivelySynced }
    /// The name.
    public nonisolated var id: String { options.id }
    /// The state.
    public var status: JobStatus { state.status }
    /// The limit in bytes for each second, 0 for none.
    public var speed: Int64 { limiter.speed }
    /// Whether a client has paused the job.
    public var isUserPaused: Bool { state.isUserPaused }
    /// Whether the job is to end without its result: the body looks at it after each wait.
    public var isCancelled: Bool { state.isCancelled }

    // MARK: For the body

    /// More of the work is done.
    public func advance(by amount: Int64) {
        let (sum, overflow) = ownProgress.addingReportingOverflow(amount)
        ownProgress = overflow ? .max : sum
    }

    /// So much of the work is left.
    public func setRemaining(_ amount: Int64) {
        let (sum, overflow) = ownProgress.addingReportingOverflow(amount)
        ownTotal = overflow ? .max : sum
    }

    /// Waits here while the job is paused.
    public func pausePoint() async {
        while state.mustPause {
            showPaused()
            isWaiting = true
            await changes.wait(until: { !state.mustPause })
            isWaiting = false
        }
    }

    /// Waits until something changes that the job waits for, or until it must pause or end. Then it pauses where it must.
    ///
    /// - Parameter isDone: whether the wait is over; looked at whenever `changed` is called.
    public func wait(until isDone: @GraphActor () -> Bool) async {
        while !isDone(), !isCancelled {
            isWaiting = true
            await changes.wait(until: { isDone() || state.isCancelled || state.mustPause })
            isWaiting = false
            await pausePoint()
        }
    }

    /// Waits for work that is going on: returns when it is done, or when the job must pause or end.
    func waitAtWork(until isDone: @GraphActor () -> Bool) async {
        await changes.wait(until: { isDone() || state.isCancelled || state.mustPause })
    }

    /// Has a `wait` look again. From any thread.
    public nonisolated func changed() { changes.notifyAll() }

    /// Notes bytes that have been moved, and waits as long as the limit asks for; less where the job is cancelled.
    /// Pauses where that is asked for.
    public func throttle(_ bytes: Int64) async {
        guard let deadline = limiter.account(bytes) else { return await pausePoint() }
        let speed = speed
        repeat {
            await sleep(until: deadline)
            await pausePoint()
        } while !isCancelled && self.speed == speed && MonotonicTime.now < deadline
    }

    /// The job can be completed from now on. Returns when a client asks for that, or cancels it.
    public func becomeReady() async {
        move(to: .ready)
        if options.isBlockJob { list.report(.ready(figures)) }
        while !state.isCompleting, !state.isCancelled {
            await pausePoint()
            guard !state.isCompleting, !state.isCancelled else { break }
            isWaiting = true
            await changes.wait(until: { state.isCompleting || state.isCancelled || state.mustPause })
            isWaiting = false
        }
        await pausePoint()
    }

    /// A request failed: what to do about it. With `stop` the job is paused at its next pause point.
    public func handle(_ errno: Errno, isRead: Bool, policy: JobErrorPolicy) -> JobErrorAction {
        let action = policy.action(for: errno)
        list.report(.error(id: id, isRead: isRead, action: action))
        if action == .stop {
            state.pauseForError()
            ioError = ioError ?? errno
        }
        return action
    }

    private func sleep(until deadline: MonotonicTime) async {
        isWaiting = true
        defer { isWaiting = false }
        let timer = GraphActor.spawn { [changes] in
            try? await IOLoop.sleep(until: deadline)  // Cancelled: the job does not wait any more.
            changes.notifyAll()
        }
        let speed = speed
        await changes.wait(until: {
            state.isCancelled || state.mustPause || self.speed != speed || MonotonicTime.now >= deadline
        })
        timer.cancel()
    }

    // MARK: States

    /// Tells that the job is paused, where it is at work as far as anyone knows.
    func showPaused() {
        guard state.mustPause, status == .running || status == .ready else { return }
        move(to: state.pausedStatus)
    }

    /// Lets the job go on where there is no reason to pause any more.
    func goOn() {
        if !state.mustPause {
            if status == .paused { move(to: .running) } else if status == .standby { move(to: .ready) }
        }
        changes.notifyAll()
    }

    /// One of the job's backends is in a drained section: nothing is under way.
    func drainedSectionBegan() {
        state.changePauseCount(by: 1)
        showPaused()
        changes.notifyAll()
    }

    /// A drained section has ended.
    func drainedSectionEnded() {
        state.changePauseCount(by: -1)
        goOn()
    }

    /// Goes on to another state, and tells.
    func move(to status: JobStatus) {
        state.move(to: status)
        list.report(.statusChange(id: id, status: status))
    }

    /// The numbers for events.
    var figures: JobEvent.Figures {
        JobEvent.Figures(id: id, type: options.type, length: total, offset: progress, speed: limiter.speed)
    }

    /// Begins the work; returns at once.
    func start() {
        move(to: .running)
        showPaused()
        GraphActor.spawn { await self.work() }
    }

    private func work() async {
        await pausePoint()
        do {
            if !isCancelled { try await body.run(self) }
        } catch {
            if !isCancelled { self.error = error }
        }
        // In a drained section the graph must stay as it is.
        await pausePoint()
        await transaction.workEnded(of: self)
    }
}
