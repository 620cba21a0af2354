import CLinuxShims

extension IOLoop {
    /// Makes `job` run on this loop's thread, after the jobs enqueued before it. From any thread.
    public func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        if isCurrent {
            ready.append(job)
        } else {
            inbox.add(job: job)
        }
    }

    /// Two references to one loop are the same context.
    public func isSameExclusiveExecutionContext(other: IOLoop) -> Bool { self === other }

    /// Ends the process unless the caller is on this loop's thread.
    public func checkIsolated() {
        precondition(isCurrent, "not on the thread of the loop \(name)")
    }

    /// Whether the caller is on this loop's thread, and so in the context of the actors that it executes.
    public func isIsolatingCurrentContext() -> Bool? { isCurrent }
}
