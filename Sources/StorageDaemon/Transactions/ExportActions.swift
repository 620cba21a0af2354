import BlockExports
import BlockGraph
import IOLoop
import QAPI
import QMPSchema

/// `block-export-add`. Clients find the export when all actions have succeeded.
final class AddExportAction: UndoableAction {
    private let daemon: StorageDaemon
    private let options: BlockExportOptions
    private var export: (any BlockExport)?

    init(_ options: BlockExportOptions, daemon: StorageDaemon) {
        self.daemon = daemon
        self.options = options
    }

    var nodes: [BlockNode] { daemon.graph.nodes(named: options.nodeName) }

    func prepare() async throws(QMPError) {
        let export = try await daemon.export(options)
        export.isHidden = true
        self.export = export
    }

    func commit() async { export?.isHidden = false }

    func abort() async {
        guard let export else { return }
        await daemon.exports.discard(export)
    }
}

/// `block-export-del`.
final class DeleteExportAction: UndoableAction {
    private let exports: BlockExportList
    private let arguments: BlockExportDel
    private var removal: BlockExportList.Removal?

    init(_ arguments: BlockExportDel, in exports: BlockExportList) {
        self.exports = exports
        self.arguments = arguments
    }

    /// Requests of clients end before the removal does, so that its node need not be still.
    var nodes: [BlockNode] { [] }

    func prepare() async throws(QMPError) {
        let mode: BlockExports.BlockExportRemoveMode = arguments.mode == .hard ? .hard : .safe
        removal = try await reporting { () throws(BlockError) in
            try exports.beginRemoval(id: arguments.id, mode: mode)
        }
    }

    /// In the drained section: what clients have asked for and did not get comes from another graph, and is not for them.
    func commit() async {
        if let removal { exports.disconnectClients(of: removal) }
    }

    func abort() async {
        guard let removal else { return }
        exports.cancelRemoval(removal)
        self.removal = nil
    }

    func clean() async {
        guard let removal else { return }
        await exports.finishRemoval(removal)
    }
}
