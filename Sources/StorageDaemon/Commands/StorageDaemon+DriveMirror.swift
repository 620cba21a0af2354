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
            // What the copy lacks is found in the source's backing image, or in the source, once the copy is complete.
            let target = try await nodeFactory.openCopy(
                of: source, named: arguments.target, format: arguments.format, nodeName: arguments.nodeName,
                mode: arguments.mode, sync: arguments.sync, opensBacking: arguments.sync == .full)
            do throws(BlockError) {
                try await startMirror(arguments, from: source, to: target)
            } catch {
                await graph.closeIfUnused(target)
                throw error
            }
        }
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
        let job = Job.Options(
            blockJob: arguments.jobId, .mirror, speed: arguments.speed, autoFinalize: arguments.autoFinalize,
            autoDismiss: arguments.autoDismiss)
        try await startMirror(from: source, to: target, options: options, job: job)
    }
}
