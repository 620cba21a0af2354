import IOLoop

extension BlockGraph {
    /// Deletes a node that a client made. Errors: the node is in use, or blocked, or was not made by a client.
    public func delete(_ node: BlockNode) async throws(BlockError) {
        try beginDeletion(of: node)
        await finishDeletion(of: node)
    }

    /// Begins to delete a node: it is not found by its name any more, and does not count as a user of nodes that are to be
    /// deleted as well, but it is still there. `finishDeletion` or `cancelDeletion` follows.
    ///
    /// Errors: the node is in use, or blocked, or was not made by a client.
    public func beginDeletion(of node: BlockNode) throws(BlockError) {
        let hasUser = node.parents.contains { edge in
            if case .backend(let backend) = edge.parent { backend.holder == nil && !backend.isLeaving } else { false }
        }
        if hasUser { throw BlockError("Node \(node.name) is in use") }
        try node.checkNotBlocked(for: .delete)
        guard node.isOwnedByMonitor else { throw BlockError("Node \(node.name) is not owned by the monitor") }
        guard node.parents.allSatisfy(\.isGoingAway) else {
            throw BlockError("Block device \(node.name) is in use")
        }
        node.isOwnedByMonitor = false
        node.isBeingDeleted = true
        relaxPermissions(below: [node])
    }

    /// Closes a node whose deletion was begun. Where several are deleted, in the order in which that was begun.
    public func finishDeletion(of node: BlockNode) async {
        await closeIfUnused(node)
    }

    /// Leaves a node whose deletion was begun as it was.
    public func cancelDeletion(of node: BlockNode) {
        node.isBeingDeleted = false
        node.isOwnedByMonitor = true
        relaxPermissions(below: [node])
    }
}

extension BlockChild {
    /// Whether the parent is a node that is being deleted, or a user that is leaving.
    @GraphActor public var isGoingAway: Bool {
        switch parent {
        case .node(let parent): parent.isBeingDeleted
        case .backend(let user): user.isLeaving
        case .closed: true
        }
    }
}
