import BlockGraph
import BlockJobs
import BlockNodes
import IOLoop
import QAPI
import QMPSchema

/// Mirrors: `blockdev-mirror`, and `block-commit` of the image that the guest writes to.
extension StorageDaemon {
    func blockdevMirror(_ arguments: BlockdevMirrorArguments) async throws(QMPError) {
        try await reporting { () async throws(BlockError) in
            let source = try graph.requireNode(named: arguments.device)
            guard source.isRoot else { throw BlockError("Need a root block node") }
            let target = try graph.requireNode(named: arguments.target)
            var options = MirrorOptions(sync: try MirrorOptions.Sync(arguments.sync))
            try options.setSizes(granularity: arguments.granularity, bufferSize: arguments.bufSize)
            options.isWriteBlocking = arguments.copyMode == .writeBlocking
            options.onSourceError = arguments.onSourceError.map(JobErrorPolicy.init) ?? .report
            options.onTargetError = arguments.onTargetError.map(JobErrorPolicy.init) ?? .report
            options.filterName = arguments.filterNodeName
            options.targetIsZero = arguments.targetIsZero ?? false
            if let name = arguments.replaces { options.replaced = try graph.replaceable(name, through: source) }
            let job = Job.Options(
                blockJob: arguments.jobId, .mirror, speed: arguments.speed, autoFinalize: arguments.autoFinalize,
                autoDismiss: arguments.autoDismiss)
            try await startMirror(from: source, to: target, options: options, job: job)
        }
    }

    func startMirror(
        from source: BlockNode, to target: BlockNode, options: MirrorOptions, job: Job.Options
    ) async throws(BlockError) {
        guard source != target else { throw BlockError("Can't mirror node into itself") }
        try source.checkNotBlocked(for: .mirrorSource)
        try target.checkNotBlocked(for: .mirrorTarget)
        try await MirrorJob.start(
            from: source, to: target, options: options, job: job, in: jobs)
    }
}

extension StorageDaemon {
    /// Commits the data of the image that the guest writes to.
    func commitActiveLayer(
        _ arguments: BlockCommitArguments, device: BlockNode, base: BlockNode
    ) async throws(QMPError) {
        try await reporting { () async throws(BlockError) in
            for node in [device, base] { try node.checkNotBlocked(for: .commitSource) }
            var options = MirrorOptions(sync: .aboveTarget)
            options.onSourceError = arguments.onError.map(JobErrorPolicy.init) ?? .report
            options.onTargetError = options.onSourceError
            options.filterName = arguments.filterNodeName
            let job = Job.Options(
                blockJob: arguments.jobId, .commit, speed: arguments.speed, autoFinalize: arguments.autoFinalize,
                autoDismiss: arguments.autoDismiss)
            let access = try await nodeFactory.makeWritable(base)
            let (factory, graph) = (nodeFactory, graph)
            let restore: @GraphActor @Sendable () async -> Void = {
                do throws(BlockError) {
                    try await factory.takeBack(access)
                } catch {
                    graph.complain("block-commit: the former state could not be restored: \(error.description)")
                }
            }
            do throws(BlockError) {
                try await MirrorJob.start(
                    from: device, to: base, options: options, job: job, in: jobs, restore: restore)
            } catch {
                await restore()
                throw error
            }
        }
    }
}

extension MirrorOptions.Sync {
    /// What a client asks for. Error: a mirror does not do that.
    init(_ mode: MirrorSyncMode) throws(BlockError) {
        switch mode {
        case .full: self = .full
        case .top: self = .top
        case .none: self = .none
        case .incremental, .bitmap: throw BlockError("Sync mode '\(mode.rawValue)' not supported")
        }
    }
}

extension MirrorOptions {
    /// Sets the sizes that a client gives, 0 for the usual ones. Error: one will not do.
    mutating func setSizes(granularity: UInt32?, bufferSize: Int64?) throws(BlockError) {
        if let granularity, granularity != 0 {
            guard (512...(64 << 20)).contains(granularity) else {
                throw BlockError("Parameter 'granularity' expects a value in range [512B, 64MB]")
            }
            guard granularity & (granularity - 1) == 0 else {
                throw BlockError("Parameter 'granularity' expects a power of 2")
            }
            self.granularity = Int64(granularity)
        }
        if let bufferSize, bufferSize != 0 {
            guard bufferSize > 0 else { throw BlockError("Invalid parameter 'buf-size'") }
            self.bufferSize = bufferSize
        }
    }
}

extension BlockGraph {
    /// The node of a name that shows the same as `source`: it, or one that it is a filter of.
    func replaceable(_ name: String, through source: BlockNode) throws(BlockError) -> BlockNode {
        guard let node = node(named: name) else {
            throw BlockError("Failed to find node with node-name='\(name)'")
        }
        var shown: BlockNode? = source
        while let candidate = shown, candidate != node { shown = candidate.driver.filteredChild?.node }
        guard shown != nil else {
            throw BlockError(
                """
                Cannot replace '\(name)' by a node mirrored from '\(source.name)', because it cannot be guaranteed that \
                doing so would not lead to an abrupt change of visible data
                """)
        }
        return node
    }
}
