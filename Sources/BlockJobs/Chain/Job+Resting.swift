import BlockGraph
import IOLoop

extension Job {
    /// Waits until the deadline, less where the job is cancelled, its limit changes, or the condition holds, which is looked at
    /// whenever something changes. Pauses where that is asked for.
    func rest(until deadline: MonotonicTime, unless isDone: @GraphActor () -> Bool = { false }) async {
        let speed = speed
        let timer = GraphActor.spawn { [changes] in
            try? await IOLoop.sleep(until: deadline)  // Cancelled: the job does not wait any more.
            changes.notifyAll()
        }
        defer { timer.cancel() }
        while MonotonicTime.now < deadline, self.speed == speed, !isCancelled, !isDone() {
            isWaiting = true
            await changes.wait(until: {
                state.mustPause || isCancelled || self.speed != speed || isDone() || MonotonicTime.now >= deadline
            })
            isWaiting = false
            await pausePoint()
        }
    }
}
