import IOLoop
import Synchronization

/// What the workers of a pool do.
protocol PooledJob: Sendable {
    /// Does the job, on the loop of whoever does it.
    func run() async
}

/// Tasks that do jobs and rest in between, so that a job needs no task of its own.
final class WorkerPool<Job: PooledJob>: Sendable {
    private struct Worker {
        let loop: IOLoop
        let continuation: UnsafeContinuation<Job?, Never>
    }

    private struct State {
        var queue: [Job] = []
        var resting: [Worker] = []
        var count = 0
        var isClosed = false
    }

    private enum Action {
        case refuse
        case wait
        case start
        case wake(Worker)
    }

    private let maximum: Int
    private let state = Mutex(State())

    /// A pool of at most `maximum` workers. They run on the loops that first had a job for them.
    init(maximum: Int) { self.maximum = maximum }

    /// Has a job done: by a worker that rests, best one of this loop, or by a new one. Its turn comes before those of tasks that
    /// become ready later. Where all are busy the job waits if it may, oldest first; else it is not done, and this is false.
    @discardableResult
    func submit(_ job: Job, mayWait: Bool) -> Bool {
        let loop = IOLoop.current ?? .main
        let action = state.withLock { state -> Action in
            if let index = state.resting.lastIndex(where: { $0.loop === loop }) {
                return .wake(state.resting.remove(at: index))
            }
            if state.count < maximum {
                state.count += 1
                // Through the queue, as a task would keep what it begins with.
                state.queue.append(job)
                return .start
            }
            if let other = state.resting.popLast() { return .wake(other) }
            if mayWait { state.queue.append(job) }
            return mayWait ? .wait : .refuse
        }
        switch action {
        case .refuse: return false
        case .wait: break
        case .start: Task(executorPreference: loop) { await self.work(on: loop) }
        case .wake(let worker): worker.continuation.resume(returning: job)
        }
        return true
    }

    /// Lets the workers end when nothing waits. No job comes any more.
    func close() {
        let resting = state.withLock { state in
            state.isClosed = true
            defer { state.resting = [] }
            return state.resting
        }
        for worker in resting { worker.continuation.resume(returning: nil) }
    }

    private func work(on loop: IOLoop) async {
        while let job = await next(on: loop) { await job.run() }
    }

    /// The oldest job that waits, or the next that comes; nil at the end.
    private func next(on loop: IOLoop) async -> Job? {
        await withUnsafeContinuation { continuation in
            let known = state.withLock { state -> Job?? in
                if !state.queue.isEmpty { return .some(state.queue.removeFirst()) }
                if state.isClosed { return .some(nil) }
                state.resting.append(Worker(loop: loop, continuation: continuation))
                return nil
            }
            if let known { continuation.resume(returning: known) }
        }
    }
}
