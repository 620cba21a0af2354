import BlockDrivers
import BlockGraph
import IOLoop

/// Setting a mirror up.
extension MirrorJob {
    /// Makes the filter and the job, and starts it. On an error everything is as before.
    ///
    /// Errors: the filter's or the job's name will not do; a permission conflict; the target is read-only.
    public static func start(
        from source: BlockNode, to target: BlockNode, options: MirrorOptions, job jobOptions: Job.Options,
        in jobs: JobList
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
            await body.releaseTarget()
            await jobs.discard(job)
            await graph.closeIfUnused(filter)
            throw error
        }
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
                shared: isBacking(target) ? [.consistentRead, .write, .writeUnchanged] : .writeUnchanged))
        self.targetUser = targetUser
        link.connect(to: targetUser)
        try job.nodes.add(target, as: "target")
        link.mode = options.isWriteBlocking ? .writeBlocking : .background
        try await graph.replace(source, by: filter) { $0.parent.backend !== sourceUser }
    }

    /// Whether a node is the source's backing image, or one further down.
    private func isBacking(_ node: BlockNode) -> Bool {
        var layer: BlockNode? = source
        while let current = layer {
            if current == node { return true }
            layer = (current.driver.filteredChild ?? current.driver.backingChild)?.node
        }
        return false
    }
}
