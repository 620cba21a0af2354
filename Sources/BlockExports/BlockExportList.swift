import BlockGraph
import IOLoop

/// All exports of a daemon by id.
@GraphActor
public final class BlockExportList {
    /// The exports, the newest first.
    public private(set) var all: [any BlockExport] = []
    private let onDeleted: @GraphActor (String) -> Void

    /// An empty list; `onDeleted` hears the id of each export when it is gone.
    public init(onDeleted: @escaping @GraphActor (String) -> Void = { _ in }) {
        self.onDeleted = onDeleted
    }

    /// The export of an id, or nil.
    public subscript(id: String) -> (any BlockExport)? { all.first { $0.id == id } }

    /// Checks an id for a new export. Errors: "Invalid block export id"; "Block export id 'x' is already in use".
    public func check(id: String) throws(BlockError) {
        guard BlockGraph.isWellFormed(id) else { throw BlockError("Invalid block export id") }
        guard self[id] == nil else { throw BlockError("Block export id '\(id)' is already in use") }
    }

    /// Adds an export whose id was checked.
    public func insert(_ export: any BlockExport) {
        all.insert(export, at: 0)
    }

    /// Removes an export. One without clients is gone on return; else its end is begun, and `onDeleted` is called later.
    ///
    /// Errors: "Export 'x' is not found"; with mode safe and clients: "export 'x' still in use".
    public func remove(id: String, mode: BlockExportRemoveMode = .safe) async throws(BlockError) {
        guard let export = self[id] else { throw BlockError("Export '\(id)' is not found") }
        guard mode == .hard || !export.hasClients else { throw BlockError("export '\(id)' still in use") }
        guard export.hasClients else { return await removeNow(export) }
        GraphActor.spawn { await self.removeNow(export) }
    }

    /// Removes the exports that `matches` selects with their clients, and returns when they are gone.
    public func removeAll(where matches: @GraphActor (any BlockExport) -> Bool = { _ in true }) async {
        for export in all where matches(export) { await removeNow(export) }
    }

    /// Shuts an export down and takes it off the list; does nothing for one that is gone.
    private func removeNow(_ export: any BlockExport) async {
        await export.shutDown()
        guard let index = all.firstIndex(where: { $0 === export }) else { return }
        all.remove(at: index)
        onDeleted(export.id)
    }
}
