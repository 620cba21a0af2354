import BlockDrivers
import BlockGraph
import IOLoop

/// Setting a mirror up.
extension MirrorJob {
    /// Makes the filter and the job, and starts it. On an error everything is as before.
    ///
    /// - Parameter restore: called when the job has ended without the target in the place of the source.
    /// Errors: the filter's or the job's name will not do; a permission conflict; the target is read-only.
    public static func start(
        from source: BlockNode, to target: BlockNode, options: MirrorOptions, job jobOptions: Job.Options,
        in jobs: JobList, restore: @escaping @GraphActor @Sendable () async -> Void = {}
    ) async throws(BlockError) {
        let graph = source.graph
        var granularity = options.granularity ?? DirtyBitmap.defaultGranularity(clusterSize: target.imageClusterSize)
        if options.backing != .unchanged { granularity = max(granularity, target.imageClusterSize ?? 0) }
        let results = MirrorResults()
        let link = MirrorLink(
            length: source.length, granularity: granularity, unmaps: options.unmaps,
            copiesWholeGranules: options.backing != .unchanged, changed: { results.wake() })
        var nodeOptions = source.options
        nodeOptions.discard = .unmap
        nodeOptions.detectZeroes = .off
        let filter = try await graph.open(name: options.filterName, options: nodeOptions) { node in
            MirrorTopDriver.open(in: node, source: source, link: link, isCommit: options.sync == .aboveTarget)
        }
        let body = MirrorJob(
            options: options, link: link, filter: filter, source: source, target: target, results: results)
        let job: Job
        do {
            job = try jobs.create(jobOptions, body: body)
        } catch {
            await graph.closeIfUnused(filter)
            throw error
        }
        do {
            try await body.attach(job)
        } catch {
            await body.letGo()
            await jobs.discard(job)
            await graph.closeIfUnused(filter)
            throw error
        }
        body.restore = restore
        jobs.start(job)
    }

    private func attach(_ job: Job) async throws(BlockError) {
        self.job = job
        results.connect(to: job.changes)
        let isCommit = options.sync == .aboveTarget
        filterUser = try job.nodes.add(
            filter, as: "main node",
            permissions: PermissionPair(used: .consistentRead, shared: [.consistentRead, .write, .writeUnchanged]))
        let sourceUser = try job.nodes.add(
            source, as: "source", permissions: PermissionPair(shared: [.consistentRead, .write, .writeUnchanged]))
        self.sourceUser = sourceUser
        let targetUser = try graph.attach(
            "an unnamed block device", to: target,
            permissions: PermissionPair(
                used: isCommit ? [.write, .resize] : .write,
                shared: source.backingChain.contains(target)
                    ? [.consistentRead, .write, .writeUnchanged] : .writeUnchanged))
        self.targetUser = targetUser
        link.connect(to: targetUser)
        try job.nodes.add(target, as: "target")
        link.mode = options.isWriteBlocking ? .writeBlocking : .background
        try await graph.replace(source, by: filter) { $0.parent.backend !== sourceUser }
        if isCommit { try await useChain(of: job) }
    }

    /// Keeps the images between source and target as they are, though what they show means nothing while the target changes.
    /// Makes the target as long as the source.
    private func useChain(of job: Job) async throws(BlockError) {
        for node in source.chain(above: target).dropFirst() {
            try job.nodes.add(
                node, as: "intermediate node", permissions: PermissionPair(shared: [.write, .writeUnchanged]))
        }
        frozen = try graph.freeze(from: source, to: target)
        guard target.length < source.length else { return }
        let length = source.length
        try await graph.drained([target]) { () async throws(BlockError) in
            try await self.target.resize(to: length, exact: false)
        }
    }
}
