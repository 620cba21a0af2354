import BlockDrivers
import BlockGraph
import BlockJobs
import BlockNodes
import IOLoop
import QAPI
import QMPSchema

/// `drive-backup`: a backup to an image that is named by its file.
extension StorageDaemon {
    func driveBackup(_ arguments: DriveBackup) async throws(QMPError) {
        let action = BackupAction(arguments, in: JobTransaction(), daemon: self)
        try await Transaction(graph: graph, actions: [action]).run()
    }

    /// Makes the image, where it is not there already, and the job of a backup to it, without starting it: in a drained section of
    /// the source. See `BackupJob.create`.
    func makeDriveBackup(_ arguments: DriveBackup, in transaction: JobTransaction) async throws(BlockError) -> Job {
        let source = try graph.requireNode(named: arguments.device)
        let target = try await nodeFactory.openCopy(
            of: source, named: arguments.target, format: arguments.format, nodeName: nil, mode: arguments.mode,
            sync: arguments.sync, opensBacking: arguments.sync != .none)
        do throws(BlockError) {
            // What was not overwritten is read from the source.
            if arguments.sync == .none, target.driver is Qcow2Driver {
                try await graph.setBacking(of: target, to: source)
            }
            return try await makeBackup(BackupCommon(arguments), source: source, target: target, in: transaction)
        } catch {
            await graph.closeIfUnused(target)
            throw error
        }
    }
}

extension NodeFactory {
    /// Makes the image of a copy, where it is not there already, and opens it for writing with the options of the source.
    ///
    /// Errors: as `create`, and as `openImage`.
    func openCopy(
        of source: BlockNode, named name: String, format: String?, nodeName: String?, mode: NewImageMode?,
        sync: MirrorSyncMode, opensBacking: Bool
    ) async throws(BlockError) -> BlockNode {
        let isNew = mode != .existing
        let format = format ?? (isNew ? source.driver.formatName : nil)
        if isNew {
            try await createCopy(
                of: source, named: name, format: format ?? "", backing: source.backing(ofCopy: sync))
        }
        var options = source.options
        options.isReadOnly = false
        return try await openImage(
            named: name, format: format, nodeName: nodeName, options: options, opensBacking: opensBacking)
    }

    /// Makes an image for a copy of a node. Errors: as `create`.
    private func createCopy(
        of source: BlockNode, named name: String, format: String, backing: BlockNode?
    ) async throws(BlockError) {
        guard format != "file" || backing == nil else {
            throw BlockError("Backing file not supported for file format '\(format)'")
        }
        var image = NewImage(filename: name, format: format == "file" ? "raw" : format, size: source.length)
        if let backing { image.setBacking(backing) }
        try await create(image)
    }
}

extension BlockNode {
    /// What the header of a copy's image is to name as its backing image, where the copy holds only a part of the disk.
    @GraphActor fileprivate func backing(ofCopy sync: MirrorSyncMode) -> BlockNode? {
        switch sync {
        case .none: self
        case .top: belowFilters.driver.backingChild?.node
        case .full, .incremental, .bitmap: nil
        }
    }
}
