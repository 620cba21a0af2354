import BlockGraph
import IOLoop

extension OpenImage {
    /// Shows the disk as it is in a snapshot from now on; the image is open for reading only.
    ///
    /// - Parameter text: the snapshot's ID or name, or "snapshot.id=ID,snapshot.name=NAME", of which one may be missing.
    /// Failure: there is no such snapshot; the format has none.
    func show(_ text: String) async throws(ToolFailure) {
        try await failing("Failed to load snapshot") { () async throws(BlockError) in
            guard let (owner, store) = node.snapshotStore else {
                throw BlockError(
                    "Block format '\(node.driver.formatName)' used by device '' does not support temporarily loading "
                        + "internal snapshots")
            }
            guard let snapshot = try Self.find(text, among: (try? store.list()) ?? []) else {
                throw BlockError("Can't find snapshot")
            }
            try await node.graph.drained([owner]) { () async throws(BlockError) in
                try await store.show(id: snapshot.id)
            }
        }
    }

    private static func find(
        _ text: String, among snapshots: [InternalSnapshot]
    ) throws(BlockError) -> InternalSnapshot? {
        guard text.hasPrefix("snapshot.") else {
            return snapshots.first { $0.id == text } ?? snapshots.first { $0.name == text }
        }
        var list = OptionList()
        do {
            try list.add(text)
        } catch {
            throw BlockError(error.message ?? "")
        }
        let (id, name) = (list["snapshot.id"], list["snapshot.name"])
        guard id != nil || name != nil else { return nil }
        return snapshots.first { $0.id == id ?? $0.id && $0.name == name ?? $0.name }
    }
}
