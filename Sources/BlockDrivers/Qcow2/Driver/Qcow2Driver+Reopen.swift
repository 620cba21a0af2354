import BlockGraph
import IOLoop
import Qcow2Format
import Synchronization

extension Qcow2Driver {
    /// Writes everything back, so that the image can be opened anew.
    @GraphActor public func settle(before options: NodeOptions, of node: BlockNode) async throws(BlockError) {
        do {
            try await image.makeClean()
        } catch {
            throw BlockError("Could not flush node '\(node.name)'", causedBy: error)
        }
    }

    /// Takes other options, another file, another backing image, or none. What is on disk is up to date: see `settle`.
    ///
    /// Errors, in QEMU's words: the options make no sense for the image; it is marked as corrupt or dirty and would be written;
    /// another file has no image.
    @GraphActor public func prepareReopen(_ request: ReopenRequest) async throws(BlockError) -> ReopenAction {
        let node = request.node
        guard let new = request.driverOptions as? Qcow2Configuration else { return ReopenAction() }
        let header = try await Self.header(of: file.node)
        let isReadOnly = request.nodeOptions.isReadOnly
        if !isReadOnly {
            try Qcow2Image.checkWritable(header)
            // Repairing takes permissions that come only when everything has been prepared.
            if header.incompatibleFeatures.contains(.dirty) {
                throw BlockError(
                    "qcow2: Image is dirty; it must be opened read/write anew to be repaired", errno: .EACCES)
            }
        }
        let image = try await Qcow2Image.open(
            new, header: header, in: node, file: file, dataFile: dataFile, forWriting: false)
        let snapshots = openedFile === file.node ? nil : try await snapshots(ofOther: image, in: node)
        return ReopenAction(
            commit: {
                self.configuration = new
                self.currentBacking = node.child(named: "backing")
                self.install(image)
                if let snapshots { self.take(snapshots) }
            },
            finish: {
                guard !isReadOnly else { return }
                // An image that cannot be written tells so at the first write.
                try? await image.prepareForWriting()
            })
    }

    @GraphActor public func childrenChanged(in node: BlockNode) {
        currentBacking = node.child(named: "backing")
    }

    /// What the image in another file keeps. Error: one of the two has persistent bitmaps, which belong to its node.
    @GraphActor private func snapshots(
        ofOther image: Qcow2Image, in node: BlockNode
    ) async throws(BlockError) -> Qcow2Snapshots {
        guard bitmaps.entries.isEmpty, image.header.bitmaps == nil else {
            throw BlockError("The file of node '\(node.name)' cannot change: an image has persistent bitmaps")
        }
        return try await Qcow2Snapshots.load(image)
    }

    /// Forgets what was known of the former file.
    @GraphActor private func take(_ snapshots: Qcow2Snapshots) {
        openSnapshots = snapshots
        touchedEnd.store(.max, ordering: .relaxed)
        sparseness.store(.unknown, ordering: .relaxed)
    }
}
