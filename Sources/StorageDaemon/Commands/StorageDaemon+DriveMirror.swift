import BlockDrivers
import BlockGraph
import BlockJobs
import BlockNodes
import IOLoop
import QAPI
import QMPSchema

/// `drive-mirror`: a mirror to an image that is named by its file.
extension StorageDaemon {
    func driveMirror(_ arguments: DriveMirror) async throws(QMPError) {
        try await reporting { () async throws(BlockError) in
            let source = try graph.requireNode(named: arguments.device)
            guard source.isRoot else { throw BlockError("Need a root block node") }
            guard arguments.replaces == nil || arguments.nodeName != nil else {
                throw BlockError("a node-name must be provided when replacing a named node of the graph")
            }
            let target = try await openMirrorTarget(arguments, of: source)
            do throws(BlockError) {
                try await startMirror(arguments, from: source, to: target)
            } catch {
                await graph.closeIfUnused(target)
                throw error
            }
        }
    }

    /// Makes the image, where it is not there already, and opens it.
    private func openMirrorTarget(
        _ arguments: DriveMirror, of source: BlockNode
    ) async throws(BlockError) -> BlockNode {
        let isNew = arguments.mode != .existing
        let format = arguments.format ?? (isNew ? source.driver.formatName : nil)
        if isNew {
            try await nodeFactory.createCopy(
                of: source, named: arguments.target, format: format ?? "",
                backing: source.backing(ofCopy: arguments.sync))
        }
        var options = source.options
        options.isReadOnly = false
        // What the copy lacks is found in the source's backing image, or in the source, once the copy is complete.
        return try await nodeFactory.openImage(
            named: arguments.target, format: format, nodeName: arguments.nodeName, options: options,
            opensBacking: arguments.sync == .full)
    }

    private func startMirror(
        _ arguments: DriveMirror, from source: BlockNode, to target: BlockNode
    ) async throws(BlockError) {
        var options = MirrorOptions(sync: try MirrorOptions.Sync(arguments.sync))
        try options.setSizes(granularity: arguments.granularity, bufferSize: arguments.bufSize)
        options.isWriteBlocking = arguments.copyMode == .writeBlocking
        options.onSourceError = arguments.onSourceError.map(JobErrorPolicy.init) ?? .report
        options.onTargetError = arguments.onTargetError.map(JobErrorPolicy.init) ?? .report
        options.unmaps = arguments.unmap ?? true
        if arguments.sync != .full, target.driver is Qcow2Driver { options.backing = .ofSource }
        if let name = arguments.replaces { options.replaced = try graph.replaceable(name, through: source) }
        var job = Job.Options(blockJob: arguments.jobId, .mirror)
        job.speed = arguments.speed ?? 0
        job.autoFinalize = arguments.autoFinalize ?? true
        job.autoDismiss = arguments.autoDismiss ?? true
        try await startMirror(from: source, to: target, options: options, job: job)
    }
}
