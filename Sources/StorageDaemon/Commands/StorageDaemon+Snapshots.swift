import BlockGraph
import BlockNodes
import IOLoop
import QAPI
import QMPSchema

/// Snapshots: `blockdev-snapshot`, `blockdev-snapshot-sync`, `blockdev-snapshot-internal-sync` and
/// `blockdev-snapshot-delete-internal-sync`.
extension StorageDaemon {
    func blockdevSnapshot(_ arguments: BlockdevSnapshot) async throws(QMPError) {
        try await run(SnapshotAction(arguments, factory: nodeFactory))
    }

    func blockdevSnapshotSync(_ arguments: BlockdevSnapshotSync) async throws(QMPError) {
        try await run(SnapshotSyncAction(arguments, factory: nodeFactory))
    }

    func blockdevSnapshotInternalSync(_ arguments: BlockdevSnapshotInternal) async throws(QMPError) {
        try await run(InternalSnapshotAction(arguments, daemon: self))
    }

    func blockdevSnapshotDeleteInternalSync(
        _ arguments: BlockdevSnapshotDeleteInternalSyncArguments
    ) async throws(QMPError) -> SnapshotInfo {
        let node = try findRootNode(arguments.device)
        if arguments.id == nil, arguments.name == nil { throw QMPError("Name or id must be provided") }
        guard let (owner, store) = node.snapshotStore else {
            throw QMPError("Failed to get a snapshot list: \(Errno.ENOTSUP)")
        }
        let found = try list(store).first { snapshot in
            snapshot.id == arguments.id ?? snapshot.id && snapshot.name == arguments.name ?? snapshot.name
        }
        guard let found else {
            let (id, name) = (arguments.id ?? "null", arguments.name ?? "null")
            throw QMPError(
                "Snapshot with id '\(id)' and name '\(name)' does not exist on device '\(arguments.device)'")
        }
        try await reporting { () async throws(BlockError) in
            if owner.isReadOnly {
                throw BlockError("Failed to remove snapshot from snapshot list", causedBy: .EPERM)
            }
            try await graph.drained([owner]) { () async throws(BlockError) in try await store.delete(id: found.id) }
        }
        return SnapshotInfo(found)
    }

    /// A node that no other node uses. Errors: there is none of that name; "Need a root block node".
    func findRootNode(_ name: String) throws(QMPError) -> BlockNode {
        let node = try findNode(name)
        let isChild = node.parents.contains { if case .node = $0.parent { true } else { false } }
        if isChild { throw QMPError("Need a root block node") }
        return node
    }

    func list(_ store: any InternalSnapshotStore) throws(QMPError) -> [InternalSnapshot] {
        do {
            return try store.list()
        } catch {
            throw QMPError("Failed to get a snapshot list: \(error)")
        }
    }
}
