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
        await finishRemoval(try beginRemoval(id: id, mode: mode))
    }

    /// An export that is off the list, and may come back to its place.
    public struct Removal {
        fileprivate let export: any BlockExport
        fileprivate let index: Int
    }

    /// Takes an export off the list: new clients do not find it. `finishRemoval` or `cancelRemoval` follows. Errors: as `remove`.
    public func beginRemoval(id: String, mode: BlockExportRemoveMode) throws(BlockError) -> Removal {
        guard let index = all.firstIndex(where: { $0.id == id }) else {
            throw BlockError("Export '\(id)' is not found")
        }
        let export = all[index]
        guard mode == .hard || !export.hasClients else { throw BlockError("export '\(id)' still in use") }
        all.remove(at: index)
        export.withdraw()
        return Removal(export: export, index: index)
    }

    /// Disconnects the clients of an export whose removal cannot be taken back any more.
    public func disconnectClients(of removal: Removal) { removal.export.disconnectClients() }

    /// Removes an export for good, as `remove` says.
    public func finishRemoval(_ removal: Removal) async {
        let export = removal.export
        // As long as it has clients it is there for all to see.
        all.insert(export, at: min(removal.index, all.count))
        guard export.hasClients else { return await removeNow(export) }
        GraphActor.spawn { await self.removeNow(export) }
    }

    /// Puts an export back whose removal was begun.
    public func cancelRemoval(_ removal: Removal) {
        all.insert(removal.export, at: min(removal.index, all.count))
        removal.export.reinstate()
    }

    /// Takes an export away that was hidden from the beginning: nobody is told, as nobody has seen it.
    public func discard(_ export: any BlockExport) async {
        all.removeAll { $0 === export }
        await export.shutDown()
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
