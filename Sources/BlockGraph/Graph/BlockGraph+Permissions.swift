import IOLoop

extension BlockGraph {
    /// Computes the permissions of all edges below the roots anew, and lets the drivers take them.
    ///
    /// - Parameter isReopening: whether the nodes' options have changed, which makes a difference to what is said.
    /// On an error every permission is as before. Errors: two parents do not go together, or a driver refuses.
    func refreshPermissions(below roots: [BlockNode], isReopening: Bool = false) throws(BlockError) {
        var changedEdges: [(edge: BlockChild, old: PermissionPair)] = []
        var prepared: [(node: BlockNode, wanted: PermissionPair)] = []
        do {
            for node in nodesBelow(roots) {
                let wanted = try combinedPermissions(of: node)
                guard let driver = node.driverIfOpen else { continue }
                try checkReadOnly(node, wanted, isReopening: isReopening)
                try driver.preparePermissions(wanted, of: node)
                prepared.append((node, wanted))
                for child in node.children {
                    changedEdges.append((child, child.permissions))
                    child.permissions = driver.permissions(on: child, of: node, wanted: wanted)
                }
            }
        } catch {
            for (node, _) in prepared.reversed() { node.driver.abortPermissions(of: node) }
            for (edge, old) in changedEdges.reversed() { edge.permissions = old }
            throw error
        }
        for (node, wanted) in prepared {
            node.permissions = wanted
            node.driver.commitPermissions(of: node)
        }
    }

    /// Computes permissions anew after an edge has gone: nothing can conflict then, and a driver that cannot give a
    /// permission back keeps it.
    func relaxPermissions(below roots: [BlockNode]) {
        try? refreshPermissions(below: roots)
    }

    /// What all parents of a node want of it together. Error: one does not share what another uses.
    private func combinedPermissions(of node: BlockNode) throws(BlockError) -> PermissionPair {
        var wanted = PermissionPair()
        // The newest parent is looked at first: scripts know whom the message names.
        for other in node.parents.reversed() {
            for user in node.parents.reversed() where other !== user {
                let missing = user.permissions.used.subtracting(other.permissions.shared)
                guard missing.isEmpty else { throw conflict(on: node, missing, user: user, other: other) }
            }
        }
        for user in node.parents {
            wanted.used.formUnion(user.permissions.used)
            wanted.shared.formIntersection(user.permissions.shared)
        }
        return wanted
    }

    private func conflict(
        on node: BlockNode, _ missing: BlockPermissions, user: BlockChild, other: BlockChild
    ) -> BlockError {
        BlockError(
            """
            Permission conflict on node '\(node.name)': permissions '\(missing.description)' are both required by \
            \(user.use) and unshared by \(other.use).
            """)
    }

    private func checkReadOnly(
        _ node: BlockNode, _ wanted: PermissionPair, isReopening: Bool
    ) throws(BlockError) {
        guard node.isReadOnly, !wanted.used.isDisjoint(with: [.write, .writeUnchanged]) else { return }
        throw BlockError(
            isReopening
                ? "Read-only block node '\(node.name)' cannot support read-write users" : "Block node is read-only")
    }
}

extension BlockChild {
    /// The edge in a message: "node 'x' (uses node 'y' as 'file' child)".
    @GraphActor var use: String { "\(parent.description) (uses node '\(node.name)' as '\(name)' child)" }
}
