import BlockGraph
import BlockJobs
import QAPI
import QMPSchema

/// Mirrors: `blockdev-mirror`.
extension StorageDaemon {
    func blockdevMirror(_ arguments: BlockdevMirrorArguments) async throws(QMPError) {
        try await reporting { () async throws(BlockError) in
            let source = try graph.requireRootNode(named: arguments.device)
            let target = try graph.requireNode(named: arguments.target)
            var options = MirrorOptions(sync: try MirrorOptions.Sync(arguments.sync))
            try options.setSizes(granularity: arguments.granularity, bufferSize: arguments.bufSize)
            options.isWriteBlocking = arguments.copyMode == .writeBlocking
            options.onSourceError = JobErrorPolicy(arguments.onSourceError)
            options.onTargetError = JobErrorPolicy(arguments.onTargetError)
            options.filterName = arguments.filterNodeName
            options.targetIsZero = arguments.targetIsZero ?? false
            if let name = arguments.replaces { options.replaced = try graph.replaceable(name, through: source) }
            try await startMirror(
                from: source, to: target, options: options,
                job: JobSettings(
                    id: arguments.jobId, speed: arguments.speed, autoFinalize: arguments.autoFinalize,
                    autoDismiss: arguments.autoDismiss))
        }
    }

    private func startMirror(
        from source: BlockNode, to target: BlockNode, options: MirrorOptions, job: JobSettings
    ) async throws(BlockError) {
        guard source != target else { throw BlockError("Can't mirror node into itself") }
        try source.checkNotBlocked(for: .mirrorSource)
        try target.checkNotBlocked(for: .mirrorTarget)
        try await MirrorJob.start(
            from: source, to: target, options: options, job: job.options(type: .mirror), in: jobs)
    }
}

/// What all block jobs are asked for.
struct JobSettings {
    let id: String?
    let speed: Int64?
    let autoFinalize: Bool?
    let autoDismiss: Bool?

    /// How a job of this kind is made.
    func options(type: BlockJobs.JobType) -> Job.Options {
        var options = Job.Options(id: id ?? "", type: type)
        options.isBlockJob = true
        options.speed = speed ?? 0
        options.autoFinalize = autoFinalize ?? true
        options.autoDismiss = autoDismiss ?? true
        return options
    }
}

extension MirrorOptions.Sync {
    /// What a client asks for. Error: a mirror does not do that.
    fileprivate init(_ mode: MirrorSyncMode) throws(BlockError) {
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
    fileprivate mutating func setSizes(granularity: UInt32?, bufferSize: Int64?) throws(BlockError) {
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

extension JobErrorPolicy {
    /// What a client asks for; `report` where it does not say.
    init(_ policy: BlockdevOnError?) {
        self =
            switch policy {
            case nil, .report: .report
            case .ignore: .ignore
            case .enospc: .enospc
            case .stop: .stop
            case .auto: .auto
            }
    }
}

extension BlockGraph {
    /// The node of a name that no other node uses. Errors: there is none; "Need a root block node".
    fileprivate func requireRootNode(named name: String) throws(BlockError) -> BlockNode {
        let node = try requireNode(named: name)
        guard node.parents.allSatisfy({ $0.parent.isDevice }) else {
            throw BlockError("Need a root block node")
        }
        return node
    }

    /// The node of a name that shows the same as `source`: it, or one that it is a filter of.
    fileprivate func replaceable(_ name: String, through source: BlockNode) throws(BlockError) -> BlockNode {
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

extension BlockParent {
    /// Whether the parent is a user from outside of the graph, and no job.
    fileprivate var isDevice: Bool {
        guard case .backend(let backend) = self else { return false }
        return backend.holder == nil
    }
}
