import BlockGraph
import IOLoop

/// The jobs of a daemon.
@GraphActor
public final class JobList {
    /// The jobs, the newest first.
    public private(set) var jobs: [Job] = []
    private let eventSink: @GraphActor (JobEvent) -> Void
    private let removals = WaitQueue()

    /// Runs the last steps of jobs, which change the graph, while nobody else changes it: with commands excluded. Steps that a
    /// command asks for run within that command. By default they just run.
    public var turn: @GraphActor (@GraphActor () async -> Void) async -> Void = { await $0() }

    /// No jobs; what they tell goes to `eventSink`.
    public init(eventSink: @escaping @GraphActor (JobEvent) -> Void) {
        self.eventSink = eventSink
    }

    /// The job of a name. Error: "Job not found".
    public func job(_ id: String) throws(BlockError) -> Job {
        guard let job = jobs.first(where: { $0.id == id }) else { throw BlockError("Job not found") }
        return job
    }

    /// The block job of a name; nil where there is none.
    public func blockJob(_ id: String) -> Job? { jobs.first { $0.id == id && $0.options.isBlockJob } }

    /// Makes a job, which `start` starts, or `discard` takes away. It uses no nodes yet: see `Job.nodes`.
    /// Errors: the name is malformed or taken; the speed is negative (the job has been there for a moment then).
    public func create(
        _ options: Job.Options, in transaction: JobTransaction = JobTransaction(), body: any JobBody
    ) throws(BlockError) -> Job {
        guard BlockGraph.isWellFormed(options.id) else { throw BlockError("Invalid job ID '\(options.id)'") }
        guard !jobs.contains(where: { $0.id == options.id }) else {
            throw BlockError("Job ID '\(options.id)' already in use")
        }
        let job = Job(options, body: body, list: self, transaction: transaction)
        jobs.insert(job, at: 0)
        transaction.add(job)
        job.move(to: .created)
        guard options.speed >= 0 else {
            transaction.forget(job)
            job.remove()
            throw BlockError("Parameter 'speed' expects a non-negative value")
        }
        return job
    }

    /// Takes a job away that could not be set up, and was not started. What its body has done so far is the caller's to undo.
    public func discard(_ job: Job) async {
        job.transaction.forget(job)
        await job.nodes.release()
        job.remove()
    }

    /// Starts the work of a job.
    public func start(_ job: Job) { job.start() }

    /// Cancels all jobs and waits for their end: before the nodes are closed.
    public func cancelAll() async {
        await turn { for job in self.jobs where !job.status.isOver { try? await job.cancel(force: true) } }
        await removals.wait(until: { jobs.allSatisfy(\.status.isOver) })
    }

    func report(_ event: JobEvent) {
        eventSink(event)
        removals.notifyAll()
    }

    func remove(_ job: Job) {
        jobs.removeAll { $0 === job }
        removals.notifyAll()
    }
}
