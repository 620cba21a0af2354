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
        let isNew = arguments.mode != .existing
        let format = arguments.format ?? (isNew ? source.driver.formatName : nil)
        if isNew {
            try await nodeFactory.createCopy(
                of: source, named: arguments.target, format: format ?? "",
                backing: source.backing(ofCopy: arguments.sync))
        }
        var options = source.options
        options.isReadOnly = false
        let target = try await nodeFactory.openImage(
            named: arguments.target, format: format, nodeName: nil, options: options,
            opensBacking: arguments.sync != .none)
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
    /// Makes an image for a copy of a node. Errors: as `create`.
    func createCopy(
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
    @GraphActor func backing(ofCopy sync: MirrorSyncMode) -> BlockNode? {
        switch sync {
        case .none: self
        case .top: belowFilters.driver.backingChild?.node
        case .full, .incremental, .bitmap: nil
        }
    }
}
