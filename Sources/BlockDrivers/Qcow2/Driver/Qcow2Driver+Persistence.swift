import BlockGraph
import IOLoop
import Synchronization

/// What an image keeps besides the disk: snapshots and bitmaps.
extension Qcow2Driver {
    /// The snapshots. Only after the node has started.
    public var snapshots: Qcow2Snapshots {
        guard let openSnapshots else { preconditionFailure("snapshots are used before the qcow2 image is open") }
        return openSnapshots
    }

    /// The persistent bitmaps. Only after the node has started.
    public var bitmaps: Qcow2Bitmaps {
        guard let openBitmaps else { preconditionFailure("bitmaps are used before the qcow2 image is open") }
        return openBitmaps
    }

    public var snapshotStore: (any InternalSnapshotStore)? { openSnapshots }
    public var bitmapStore: (any PersistentBitmapStore)? { openBitmaps }

    /// Reads what the image keeps, after its tables are open.
    @GraphActor func loadPersistence() async throws(BlockError) {
        openSnapshots = try await Qcow2Snapshots.load(image)
        openBitmaps = try await Qcow2Bitmaps.load(image)
    }

    /// Stores the bitmaps, and writes everything back.
    @GraphActor public func becomeReadOnly() async throws(BlockError) {
        try await bitmaps.store()
        bitmaps.setReadOnly(true)
        do throws(Errno) {
            try await image.makeClean()
        } catch {
            throw BlockError("Could not write back the tables of node '\(image.node.name)'", causedBy: error)
        }
    }

    /// Marks the bitmaps as in use. Where that cannot be done the image refuses everything: a write would make them wrong.
    @GraphActor public func becomeWritable() async {
        do throws(BlockError) {
            try await image.prepareForWriting()
            try await bitmaps.markInUse()
        } catch {
            image.isBroken.store(true, ordering: .relaxed)
            image.node.graph.complain("Node '\(image.node.name)' cannot be made writable: \(error.description)")
        }
    }
}
