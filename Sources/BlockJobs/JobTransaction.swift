import BlockGraph
import IOLoop

/// Jobs that succeed or fail together. A job alone is a transaction of one.
@GraphActor
public final class JobTransaction {
    /// The jobs that are not over, the newest first, as QEMU goes through them.
    private(set) var jobs: [Job] = []
    private var isAborting = false
    private let workEnds = WaitQueue()
    private var working = 0

    /// A transaction without jobs.
    public init() {}

    func add(_ job: Job) {
        jobs.insert(job, at: 0)
        working += 1
    }

    /// A job that was not started goes away.
    func forget(_ job: Job) {
        jobs.removeAll { $0 === job }
        working -= 1
        workEnds.notifyAll()
    }

    /// The work of a job has ended, well or not.
    func workEnded(of job: Job) async {
        working -= 1
        workEnds.notifyAll()
        if job.isCancelled || job.error != nil {
            await job.list.turn { await self.abort(startingWith: job) }
        } else if !isAborting {
            job.move(to: .waiting)
            guard jobs.allSatisfy({ $0.status == .waiting }) else { return }
            for job in jobs { job.becomePending() }
            guard jobs.allSatisfy(\.options.autoFinalize) else { return }
            await job.list.turn { await self.finalizeUnlessAborting() }
        }
    }

    /// Does the last step, unless a command has cancelled the jobs while they waited for their turn.
    private func finalizeUnlessAborting() async {
        if !isAborting { await finalize() }
    }

    /// A client cancels a job, and all others with it.
    func cancel(_ job: Job) async {
        job.state.cancel()
        job.ioError = nil
        job.goOn()
        // A job that is at work ends up in `workEnded`; one that was not started never would.
        if job.status == .created { working -= 1 }
        if job.status.hasEndedWork || job.status == .created { await abort(startingWith: job) }
    }

    /// The last step of all jobs, which are pending.
    func finalize() async {
        for job in jobs {
            do {
                try await job.body.prepare()
            } catch {
                job.error = error
                return await abort(startingWith: job)
            }
        }
        for job in jobs {
            await job.body.commit()
            await conclude(job)
        }
    }

    /// Ends all jobs without a result: the first one has failed or been cancelled, the others are cancelled.
    private func abort(startingWith first: Job) async {
        guard !isAborting else { return }
        isAborting = true
        first.move(to: .aborting)
        let others = jobs.filter { $0 !== first }
        for job in others {
            if job.status == .created, !job.isCancelled { working -= 1 }
            job.state.cancel()
            job.goOn()
        }
        await workEnds.wait(until: { working == 0 })
        for job in others { job.move(to: .aborting) }
        for job in jobs {
            if job.error == nil { job.error = BlockError("Operation canceled", errno: .ECANCELED) }
            await job.body.abort()
            await conclude(job)
        }
    }

    private func conclude(_ job: Job) async {
        await job.body.clean()
        await job.nodes.release()
        jobs.removeAll { $0 === job }
        if job.options.isBlockJob {
            let isCancelled = job.isCancelled && job.error?.errno == .ECANCELED
            job.list.report(
                isCancelled ? .cancelled(job.figures) : .completed(job.figures, error: job.error?.description))
        }
        job.move(to: .concluded)
        if job.options.autoDismiss { job.remove() }
    }
}

extension Job {
    /// All jobs of the transaction have done their work.
    func becomePending() {
        move(to: .pending)
        if options.isBlockJob, !options.autoFinalize { list.report(.pending(id: id, type: options.type)) }
    }
}
