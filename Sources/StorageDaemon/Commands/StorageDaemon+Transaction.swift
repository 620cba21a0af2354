import BlockGraph
import BlockJobs
import IOLoop
import QAPI
import QMPSchema

/// Transactions, and commands that are transactions of one action.
extension StorageDaemon {
    func transaction(_ arguments: TransactionArguments) async throws(QMPError) {
        var actions: [any UndoableAction] = []
        let isGrouped = arguments.properties?.completionMode == .grouped
        let group = isGrouped ? JobTransaction() : nil
        for action in arguments.actions {
            let undoable = undoableAction(action, group: group)
            if isGrouped, !undoable.startsJob {
                throw QMPError(
                    """
                    Action '\(action.type.tag.rawValue)' does not support transaction property completion-mode = grouped
                    """)
            }
            actions.append(undoable)
        }
        try await Transaction(graph: graph, actions: actions).run()
    }

    /// Carries out a command that is an action; the action sees to it that nodes are still.
    func run(_ action: any UndoableAction) async throws(QMPError) {
        try await Transaction(graph: graph, actions: [action]).runUndrained()
    }

    /// - Parameter group: what jobs belong to; nil for each to stand alone.
    private func undoableAction(_ action: TransactionAction, group: JobTransaction?) -> any UndoableAction {
        switch action.type {
        case .abort: AbortAction()
        case .blockDirtyBitmapAdd(let wrapper): AddBitmapAction(wrapper.data, in: graph)
        case .blockDirtyBitmapRemove(let wrapper): RemoveBitmapAction(wrapper.data, in: graph)
        case .blockDirtyBitmapClear(let wrapper): ClearBitmapAction(wrapper.data, in: graph)
        case .blockDirtyBitmapEnable(let wrapper): RecordingAction(wrapper.data, isRecording: true, in: graph)
        case .blockDirtyBitmapDisable(let wrapper): RecordingAction(wrapper.data, isRecording: false, in: graph)
        case .blockDirtyBitmapMerge(let wrapper): MergeBitmapsAction(wrapper.data, in: graph)
        case .blockdevBackup(let wrapper): BackupAction(wrapper.data, in: group ?? JobTransaction(), daemon: self)
        case .driveBackup(let wrapper): BackupAction(wrapper.data, in: group ?? JobTransaction(), daemon: self)
        case .blockdevSnapshot(let wrapper): SnapshotAction(wrapper.data, factory: nodeFactory)
        case .blockdevSnapshotSync(let wrapper): SnapshotSyncAction(wrapper.data, factory: nodeFactory)
        case .blockdevSnapshotInternalSync(let wrapper): InternalSnapshotAction(wrapper.data, daemon: self)
        case .blockdevAdd(let wrapper): AddNodeAction(wrapper.data, factory: nodeFactory)
        case .blockdevDel(let wrapper): DeleteNodeAction(wrapper.data, in: graph)
        case .blockdevReopen(let wrapper): ReopenNodesAction(wrapper.data, factory: nodeFactory)
        case .blockExportAdd(let wrapper): AddExportAction(wrapper.data, daemon: self)
        case .blockExportDel(let wrapper): DeleteExportAction(wrapper.data, in: exports)
        }
    }
}
