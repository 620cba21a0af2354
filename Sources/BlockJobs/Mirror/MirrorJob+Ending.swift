import BlockDrivers
import BlockGraph
import IOLoop

/// The last step, and the way back.
extension MirrorJob {
    /// Copies what is left while nobody writes, and puts the target in the place of the source; unless a client has cancelled
    /// the job softly, who wants the copy only.
    public func prepare() async throws(BlockError) {
        guard let job else { return }
        let nodes = [filter, source, target] + (options.replaced.map { [$0] } ?? [])
        try await graph.drained(nodes) { () async throws(BlockError) in
            try await self.copyRest(job)
            self.link.mode = .off
            if !job.state.endsSoftly { try await self.pivot() }
        }
    }

    public func abort() async {
        await undo?.run()
        hasPivoted = false
        link.mode = .off
    }

    public func clean() async {
        await letGo()
        if !hasPivoted { await restore() }
    }

    /// Lets go of all nodes, and takes the filter out. Parents that have moved to the target are not concerned.
    func letGo() async {
        frozen?.thaw()
        frozen = nil
        // Guest writes to both sides come to their end before the target is nobody's any more. Draining itself does not fail.
        try? await graph.drained([filter, source, target]) { () async throws(BlockError) in
            self.link.mode = .off
            if let targetUser = self.targetUser { self.graph.release(targetUser) }
            self.targetUser = nil
        }
        await job?.nodes.release()
        guard !filter.parents.isEmpty else { return }
        do {
            try await graph.replace(filter, by: source)
        } catch {
            graph.complain("the filter of a mirror could not be taken out: \(error.description)")
        }
        await graph.closeIfUnused(filter)
    }

    private func copyRest(_ job: Job) async throws(BlockError) {
        while var claim = link.map.claimCopy(limit: MirrorLink.maximumZeroes) {
            let run = await link.cut(&claim, limit: copyLimit, source: source)
            if let failure = await link.copy(claim, isZero: run.isZero, from: source) {
                let policy = failure.isRead ? options.onSourceError : options.onTargetError
                _ = job.handle(failure.errno, isRead: failure.isRead, policy: policy == .ignore ? .ignore : .report)
                throw BlockError(failure.errno.description, errno: failure.errno)
            }
            job.advance(by: claim.range.length)
        }
        do {
            try await target.flush()
        } catch {
            throw BlockError(error.description, errno: error)
        }
    }

    private func pivot() async throws(BlockError) {
        if let targetUser { try graph.setPermissions(PermissionPair(), of: targetUser) }
        var steps: [GraphStep] = []
        if options.backing == .ofSource {
            steps.append(
                .setBacking(
                    of: target, to: options.sync == .none ? source : source.belowFilters.driver.backingChild?.node))
        }
        let users = [filterUser, sourceUser, targetUser]
        let replaced = options.replaced ?? filter
        steps.append(
            .replace(replaced, by: target) { edge in
                guard let backend = edge.parent.backend else { return true }
                return !users.contains { $0 === backend }
            })
        undo = try await graph.change(steps)
        hasPivoted = true
    }
}

extension BlockParent {
    /// The user, where the parent is one.
    var backend: BlockBackend? {
        guard case .backend(let backend) = self else { return nil }
        return backend
    }
}
