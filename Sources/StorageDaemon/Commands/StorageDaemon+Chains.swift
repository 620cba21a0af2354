import BlockDrivers
import BlockGraph
import BlockJobs
import BlockNodes
import IOLoop
import QAPI
import QMPSchema

/// Jobs on backing chains: `block-stream`, `block-commit`.
extension StorageDaemon {
    func blockStream(_ arguments: BlockStreamArguments) async throws(QMPError) {
        let chain = try streamChain(arguments)
        try await reporting { () async throws(BlockError) in
            for node in chain.nodes { try node.checkNotBlocked(for: .stream) }
            guard arguments.backingFile == nil || arguments.base != nil || arguments.baseNode != nil else {
                throw BlockError("backing file specified, but streaming the entire chain")
            }
            var options = StreamJob.Options()
            options.backingFile = arguments.backingFile
            options.masksProtocol = arguments.backingMaskProtocol ?? false
            options.onError = arguments.onError.map(JobErrorPolicy.init) ?? .report
            options.filterName = arguments.filterNodeName
            let job = Job.Options(
                blockJob: arguments.jobId, .stream, speed: arguments.speed, autoFinalize: arguments.autoFinalize,
                autoDismiss: arguments.autoDismiss)
            jobs.start(try await StreamJob.create(job, options, chain, in: jobs, factory: nodeFactory))
        }
    }

    /// Where a stream takes its data from. Errors: nodes do not exist, or are not in the chain; too much is said.
    private func streamChain(_ arguments: BlockStreamArguments) throws(QMPError) -> StreamJob.Chain {
        if arguments.base != nil, arguments.baseNode != nil {
            throw QMPError("'base' and 'base-node' cannot be specified at the same time")
        }
        if arguments.base != nil, arguments.bottom != nil {
            throw QMPError("'base' and 'bottom' cannot be specified at the same time")
        }
        if arguments.bottom != nil, arguments.baseNode != nil {
            throw QMPError("'bottom' and 'base-node' cannot be specified at the same time")
        }
        let device = try findNode(arguments.device)
        if let name = arguments.bottom {
            let bottom = try requireNode(named: name)
            guard !bottom.isFilter else {
                throw QMPError("Node '\(name)' is a filter, use a non-filter node as 'bottom'")
            }
            guard device.backingChain.contains(bottom) else {
                throw QMPError("Node '\(name)' is not in a chain starting from '\(arguments.device)'")
            }
            return StreamJob.Chain(from: device, downTo: bottom)
        }
        if let file = arguments.base {
            return StreamJob.Chain(from: device, above: try image(named: file, below: device))
        }
        guard let name = arguments.baseNode else { return StreamJob.Chain(from: device, above: nil) }
        let base = try requireNode(named: name)
        guard base !== device, device.backingChain.contains(base) else {
            throw QMPError("Node '\(name)' is not a backing image of '\(arguments.device)'")
        }
        return StreamJob.Chain(from: device, above: base)
    }

    func blockCommit(_ arguments: BlockCommitArguments) async throws(QMPError) {
        let (device, top, base) = try commitNodes(arguments)
        guard top.belowFilters !== device.belowFilters else {
            guard arguments.backingFile == nil else {
                throw QMPError("'backing-file' specified, but 'top' is the active layer")
            }
            return try await commitActiveLayer(arguments, device: device, base: base)
        }
        try await reporting { () async throws(BlockError) in
            for node in [device, top, base] { try node.checkNotBlocked(for: .commitSource) }
            var options = CommitJob.Options()
            options.backingFile = arguments.backingFile
            options.masksProtocol = arguments.backingMaskProtocol ?? false
            options.onError = arguments.onError.map(JobErrorPolicy.init) ?? .report
            options.filterName = arguments.filterNodeName
            let job = Job.Options(
                blockJob: arguments.jobId, .commit, speed: arguments.speed, autoFinalize: arguments.autoFinalize,
                autoDismiss: arguments.autoDismiss)
            jobs.start(
                try await CommitJob.create(
                    job, options, device: device, top: top, base: base, in: jobs, factory: nodeFactory))
        }
    }

    /// The nodes of a commit. Errors: they do not exist, or are not in the chain; too much is said.
    private func commitNodes(
        _ arguments: BlockCommitArguments
    ) throws(QMPError) -> (device: BlockNode, top: BlockNode, base: BlockNode) {
        guard let device = graph.node(named: arguments.device) else {
            throw QMPError(.deviceNotFound, "Device '\(arguments.device)' not found")
        }
        guard device.isRoot else { throw QMPError("Need a root block node") }
        let top = try commitTop(arguments, device)
        if arguments.baseNode != nil, arguments.base != nil {
            throw QMPError("'base-node' and 'base' are mutually exclusive")
        }
        var base = device.backingChain.last ?? device
        if let name = arguments.baseNode {
            base = try requireNode(named: name)
        } else if let file = arguments.base {
            base = try image(named: file, below: top)
        }
        guard top.backingChain.contains(base) else {
            throw QMPError("'\(base.name)' is not in this backing file chain")
        }
        guard top !== base else { throw QMPError("cannot commit an image into itself") }
        return (device, top, base)
    }

    private func commitTop(_ arguments: BlockCommitArguments, _ device: BlockNode) throws(QMPError) -> BlockNode {
        if arguments.topNode != nil, arguments.top != nil {
            throw QMPError("'top-node' and 'top' are mutually exclusive")
        }
        if let name = arguments.topNode {
            let top = try requireNode(named: name)
            guard device.backingChain.contains(top) else {
                throw QMPError("'\(name)' is not in this backing file chain")
            }
            return top
        }
        guard let file = arguments.top, file != NodeDescription(device).filename else { return device }
        guard let top = device.backingChain.dropFirst().first(where: { NodeDescription($0).filename == file }) else {
            throw QMPError("Top image file \(file) not found")
        }
        return top
    }

    /// The node of a name, which is not a device's. Error: there is none.
    private func requireNode(named name: String) throws(QMPError) -> BlockNode {
        guard let node = graph.node(named: name) else {
            throw QMPError("Cannot find device='' nor node-name='\(name)'")
        }
        return node
    }

    /// The backing image of a file name. Error: there is none below the node.
    private func image(named file: String, below node: BlockNode) throws(QMPError) -> BlockNode {
        guard let image = node.backingChain.dropFirst().first(where: { NodeDescription($0).filename == file }) else {
            throw QMPError("Can't find '\(file)' in the backing chain")
        }
        return image
    }
}

extension BlockNode {
    /// Whether the node is the top of its chain, as far as nodes and jobs are concerned.
    @GraphActor var isRoot: Bool {
        parents.allSatisfy { if case .backend(let backend) = $0.parent { backend.holder == nil } else { false } }
    }
}

extension Job.Options {
    /// A job on disks. Its name has to be given as there are no devices whose names it could have.
    init(
        blockJob id: String?, _ type: BlockJobs.JobType, speed: Int64?, autoFinalize: Bool?, autoDismiss: Bool?
    ) {
        self.init(id: id ?? "", type: type)
        isBlockJob = true
        self.speed = speed ?? 0
        self.autoFinalize = autoFinalize ?? true
        self.autoDismiss = autoDismiss ?? true
    }
}

extension JobErrorPolicy {
    /// What a client asks for.
    init(_ policy: BlockdevOnError) {
        self =
            switch policy {
            case .report: .report
            case .ignore: .ignore
            case .enospc: .enospc
            case .stop: .stop
            case .auto: .auto
            }
    }
}
