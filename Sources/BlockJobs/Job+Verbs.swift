import BlockGraph
import IOLoop

// What clients ask of a job. Each throws where the state does not allow it, in QEMU's words.
extension Job {
    /// Pauses the job at its next pause point.
    public func pause() throws(BlockError) {
        try state.userPause()
        // A job that is waiting is at a pause point. Others have yet to come to one.
        if isWaiting { showPaused() }
        changes.notifyAll()
    }

    /// Lets a paused job go on; a failed request is forgotten.
    public func resume() throws(BlockError) {
        try state.userResume()
        ioError = nil
        goOn()
    }

    /// Ends the job without its result as soon as possible. Without force, a job that is ready may have one all the same.
    public func cancel(force: Bool) async throws(BlockError) {
        try state.check(.cancel)
        if !force, state.isReady, body.endsSoftly {
            try complete()
            state.endsSoftly = true
            return
        }
        await transaction.cancel(self)
    }

    /// Completes a job that is ready.
    public func complete() throws(BlockError) {
        try state.check(.complete)
        guard !state.isCancelled, !state.endsSoftly else {
            throw BlockError("The active block job '\(id)' cannot be completed")
        }
        try state.complete()
        changes.notifyAll()
    }

    /// Does the last step of this job and of all others of its transaction.
    public func finalize() async throws(BlockError) {
        try state.check(.finalize)
        await transaction.finalize()
    }

    /// Lets a job that is over go away.
    public func dismiss() throws(BlockError) {
        try state.check(.dismiss)
        remove()
    }

    /// Sets the limit in bytes for each second, 0 for none.
    public func setSpeed(_ speed: Int64) throws(BlockError) {
        try state.check(.setSpeed)
        guard speed >= 0 else { throw BlockError("Parameter 'speed' expects a non-negative value") }
        limiter.setSpeed(speed)
        changes.notifyAll()
    }

    /// Changes options of the work.
    public func change(_ options: any Sendable) throws(BlockError) {
        try state.check(.change)
        try body.change(options)
    }

    /// The job is gone.
    func remove() {
        move(to: .null)
        list.remove(self)
    }
}
