import IOLoop

/// What commands do with nodes, and what others may have a reason to forbid.
public enum BlockOperation: Hashable, Sendable, CaseIterable {
    /// A backup reads the node, or writes it.
    case backupSource, backupTarget
    /// The name of the backing image in the node's header is changed.
    case changeBackingFile
    /// Its data are committed to another node, or another node's to it.
    case commitSource, commitTarget
    /// A client deletes it.
    case delete
    /// Another node is put above it, and takes the writes from then on.
    case externalSnapshot
    /// A snapshot is made in the image, or deleted.
    case internalSnapshot, internalSnapshotDelete
    /// A mirror reads the node, writes it, or puts another node in its place.
    case mirrorSource, mirrorTarget, replace
    /// Its length is changed.
    case resize
    /// Data of its backing images are copied to it.
    case stream
}

/// A reason for which some operations on a node are forbidden for some time.
public final class OperationBlocker: Sendable {
    /// The reason as messages tell it: what follows "Node 'x' is busy: ".
    public let reason: String
    /// What is forbidden.
    public let operations: Set<BlockOperation>

    /// A reason to forbid operations; all of them unless said otherwise.
    public init(_ reason: String, operations: Set<BlockOperation> = Set(BlockOperation.allCases)) {
        self.reason = reason
        self.operations = operations
    }
}

extension BlockNode {
    /// Forbids operations until `unblock` is called with the same blocker.
    @GraphActor public func block(_ blocker: OperationBlocker) { blockers.append(blocker) }

    /// Takes a blocker away that `block` was called with.
    @GraphActor public func unblock(_ blocker: OperationBlocker) {
        guard let place = blockers.lastIndex(where: { $0 === blocker }) else { return }
        blockers.remove(at: place)
    }

    /// Checks that nobody forbids an operation. A command calls this before it begins.
    ///
    /// Error: "Node 'NAME' is busy: REASON", of the newest reason. That the node is the backing image of another one is a
    /// reason against some operations, without any blocker.
    @GraphActor public func checkNotBlocked(for operation: BlockOperation) throws(BlockError) {
        if let blocker = blockers.last(where: { $0.operations.contains(operation) }) {
            throw BlockError("Node '\(name)' is busy: \(blocker.reason)")
        }
        guard Self.forbiddenToBackingImages.contains(operation) else { return }
        for edge in parents.reversed() where edge.role.contains(.copyOnWrite) && !edge.isGoingAway {
            guard case .node(let overlay) = edge.parent else { continue }
            throw BlockError("Node '\(name)' is busy: node is used as backing hd of '\(overlay.name)'")
        }
    }

    /// What would change the content or length that an overlay counts on.
    private static let forbiddenToBackingImages: Set<BlockOperation> = [
        .changeBackingFile, .delete, .externalSnapshot, .internalSnapshot, .internalSnapshotDelete, .mirrorSource,
        .mirrorTarget, .replace, .resize,
    ]
}
