import BlockGraph
import IOLoop

extension Job {
    /// The job can be completed from now on, and tells so. It goes on with its work.
    func announceReady() {
        move(to: .ready)
        if options.isBlockJob { list.report(.ready(figures)) }
    }

    /// Waits until the condition holds or time is up. The condition is looked at whenever something changes.
    ///
    /// - Parameter isIdle: whether the job has no request under way, so that it may count as paused meanwhile.
    func sleep(until deadline: MonotonicTime?, isIdle: Bool, _ isDone: () -> Bool) async {
        let timer = deadline.map { deadline in
            GraphActor.spawn { [changes] in
                try? await IOLoop.sleep(until: deadline)  // Cancelled: the job does not wait any more.
                changes.notifyAll()
            }
        }
        isWaiting = isIdle
        await changes.wait(until: isDone)
        isWaiting = false
        timer?.cancel()
    }
}
