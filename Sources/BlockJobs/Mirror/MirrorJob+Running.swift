import BlockDrivers
import BlockGraph
import IOLoop

/// The work: copying until both sides are the same, and then keeping them so.
extension MirrorJob {
    public func run(_ job: Job) async throws(BlockError) {
        // A backing image may be longer than its overlay.
        guard source.length == target.length || options.sync == .aboveTarget && source.length < target.length else {
            throw BlockError("Source and target image have different sizes")
        }
        try await findDifferences(job)
        patience = 2 * link.map.remainingBytes + (4 << 20)
        while !job.isCancelled {
            collect(job)
            if failure != nil { break }
            if job.state.mustPause {
                guard copies == 0 else {
                    await sleep(job)
                    continue
                }
                await job.pausePoint()
            } else if await startCopy(job) {
                continue
            } else if copies == 0, link.map.isClean {
                if try await settle(job) { break }
            } else {
                await sleep(job)
            }
        }
        while copies > 0 {
            await sleep(job)
            collect(job)
        }
        if let failure { throw BlockError(failure.description, errno: failure) }
    }

    /// Both sides are the same at this moment. Returns whether the job is to go on to its last step.
    private func settle(_ job: Job) async throws(BlockError) -> Bool {
        isActivelySynced = isWriteBlocking
        if !isReady {
            guard await flushTarget(job) else { return false }
            isReady = true
            if !isWriteBlocking { link.mode = .background }
            job.setRemaining(0)
            job.announceReady()
            return false
        }
        if job.state.isCompleting, !job.state.mustPause {
            // What is written from now on is in the target at once: there is little to do in the last step.
            link.mode = .writeBlocking
            return true
        }
        await sleep(job)
        return false
    }

    /// Whether the target could be flushed; false as well where the job has to pause for it.
    func flushTarget(_ job: Job) async -> Bool {
        guard let targetUser else { return false }
        do {
            try await targetUser.flush()
            return true
        } catch {
            return handle(MirrorFailure(errno: error, isRead: false), job) == .ignore
        }
    }

    /// Waits until a copy ends, a guest writes, time is up or a client wants something.
    private func sleep(_ job: Job) async {
        await job.sleep(until: resumeAt?.time, isIdle: copies == 0) {
            self.results.fallAsleep()
            return !self.results.isEmpty || self.hasNews(job)
        }
    }

    /// Whether there is something to be done that was not when the job fell asleep.
    private func hasNews(_ job: Job) -> Bool {
        if failure != nil || job.isCancelled || job.state.mustPause { return copies == 0 }
        if link.mirroredBytes != shownMirroredBytes || link.hasWriteError { return true }
        if let resumeAt { return resumeAt.speed != job.speed || MonotonicTime.now >= resumeAt.time }
        if copies == 0, link.map.isClean { return !isReady || job.state.isCompleting }
        return mayCopy && link.map.hasFreeArea
    }

    // MARK: Copies

    private var mayCopy: Bool { copies < Self.maximumCopies && (copies == 0 || bytesInFlight < flightLimit) }

    /// Starts the next copy, where there is one and the limits allow it.
    private func startCopy(_ job: Job) async -> Bool {
        if let resume = resumeAt {
            guard resume.speed != job.speed || MonotonicTime.now >= resume.time else { return false }
            resumeAt = nil
        }
        guard mayCopy, link.map.hasFreeArea else { return false }
        if !isReady, copiedBytes > patience { link.mode = .writeBlocking }
        if job.state.isCompleting { link.mode = .writeBlocking }
        await beginRequests()
        guard let (claim, isZero) = await claim() else {
            endRequests()
            return false
        }
        copies += 1
        let bufferBytes = isZero ? 0 : claim.range.length
        bytesInFlight += bufferBytes
        if bufferBytes > 0, let deadline = job.limiter.account(bufferBytes) { resumeAt = (deadline, job.speed) }
        copyInBackground(claim, isZero: isZero, bufferBytes: bufferBytes)
        return true
    }

    /// Starts a copy; the requests have begun.
    private func copyInBackground(_ claim: MirrorMap.Claim, isZero: Bool, bufferBytes: Int64) {
        let copy: @Sendable () async -> Void = { [link, results, source, sourceUser, targetUser] in
            let failure = await link.copy(claim, isZero: isZero, from: source)
            sourceUser?.endRequest()
            targetUser?.endRequest()
            results.add(MirrorResults.Copy(range: claim.range, bufferBytes: bufferBytes, failure: failure))
        }
        _ = Task(executorPreference: IOLoop.main, operation: copy)
    }

    /// The next area to be copied, all of one kind.
    private func claim() async -> (claim: MirrorMap.Claim, isZero: Bool)? {
        let limit = min(copyLimit, copies == 0 ? copyLimit : bufferLimit - bytesInFlight)
        guard var claim = link.map.claimCopy(limit: MirrorLink.maximumZeroes) else { return nil }
        let granularity = link.map.granularity
        if knownData.contains(claim.range.lowerBound) {
            let end = min(knownData.upperBound, claim.range.lowerBound + max(limit, granularity))
            link.map.shrink(&claim, to: end.alignedUp(to: granularity))
            return (claim, false)
        }
        let run = await link.cut(&claim, limit: limit, source: source)
        if !run.isZero { knownData = run.range }
        return (claim, run.isZero)
    }

    /// Begins a request at both sides; a drained section of one does not keep the other waiting.
    func beginRequests() async {
        guard let sourceUser, let targetUser else { return }
        while true {
            await sourceUser.beginRequest()
            if targetUser.tryBeginRequest() { return }
            sourceUser.endRequest()
            await targetUser.beginRequest()
            targetUser.endRequest()
        }
    }

    func endRequests() {
        sourceUser?.endRequest()
        targetUser?.endRequest()
    }

    // MARK: Results

    /// Takes note of what has happened.
    private func collect(_ job: Job) {
        for copy in results.take() {
            copies -= 1
            bytesInFlight -= copy.bufferBytes
            if let failure = copy.failure {
                handle(failure, job)
            } else {
                copiedBytes += copy.range.length
                job.advance(by: copy.range.length)
            }
        }
        let mirrored = link.mirroredBytes
        if mirrored > shownMirroredBytes {
            job.advance(by: mirrored - shownMirroredBytes)
            shownMirroredBytes = mirrored
        }
        if let errno = link.takeWriteError() { handle(MirrorFailure(errno: errno, isRead: false), job) }
        job.setRemaining(link.map.remainingBytes)
    }

    @discardableResult
    private func handle(_ failure: MirrorFailure, _ job: Job) -> JobErrorAction {
        isActivelySynced = false
        guard !job.isCancelled else { return .ignore }
        let policy = failure.isRead ? options.onSourceError : options.onTargetError
        let action = job.handle(failure.errno, isRead: failure.isRead, policy: policy)
        if action == .report { self.failure = self.failure ?? failure.errno }
        return action
    }
}
