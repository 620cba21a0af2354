import IOLoop

extension BlockGraph {
    /// Attaches a child to a node that is being opened. The permissions are taken at the end of opening.
    public func attach(_ child: BlockNode, to parent: BlockNode, as name: String, role: ChildRole) -> BlockChild {
        let edge = BlockChild(name: name, role: role, parent: .node(parent), node: child)
        parent.children.append(edge)
        child.parents.append(edge)
        return edge
    }

    /// Attaches a user from outside of the graph to a node, with its permissions.
    ///
    /// - Parameters:
    ///   - description: the user in messages, as in "block device 'x'".
    ///   - edgeName: what the user calls the node.
    ///   - holder: who else than a client's device uses the node; the node can be deleted then as far as users matter.
    /// Errors: another parent does not share a permission, or the driver refuses one (read-only, image lock).
    public func attach(
        _ description: String, to node: BlockNode, as edgeName: String = "root", permissions: PermissionPair,
        holder: (any BackendHolder)? = nil
    ) throws(BlockError) -> BlockBackend {
        let backend = BlockBackend(description: description, graph: self, holder: holder)
        let edge = BlockChild(name: edgeName, role: [.filtered, .primary], parent: .backend(backend), node: node)
        edge.permissions = permissions
        node.parents.append(edge)
        do {
            try refreshPermissions(below: [node])
        } catch {
            unlink(edge)
            throw error
        }
        backend.attach(edge)
        backends.append(backend)
        stopIfDrained(backend)
        return backend
    }

    /// Takes a user away, after its requests have come back; closes the node where nobody uses it any more.
    public func detach(_ backend: BlockBackend) async {
        guard let edge = backend.edge else { return }
        await backend.gate.waitUntilEmpty()
        release(backend)
        await closeIfUnused(edge.node)
    }

    /// Takes a user away that has no request under way, and whose node somebody else keeps.
    public func release(_ backend: BlockBackend) {
        guard let edge = backend.edge else { return }
        backend.detach()
        backends.removeAll { $0 === backend }
        unlink(edge)
        relaxPermissions(below: [edge.node])
    }

    /// Changes what a user does with its node, and what it shares. On an error nothing changes.
    public func setPermissions(_ permissions: PermissionPair, of backend: BlockBackend) throws(BlockError) {
        guard let edge = backend.edge else { return }
        let old = edge.permissions
        edge.permissions = permissions
        do {
            try refreshPermissions(below: [edge.node])
        } catch {
            edge.permissions = old
            throw error
        }
    }

    /// Takes an edge out of both nodes' lists.
    func unlink(_ edge: BlockChild) {
        edge.node.parents.removeAll { $0 === edge }
        if case .node(let parent) = edge.parent { parent.children.removeAll { $0 === edge } }
    }

    /// Points an edge to another node, in a drained section; permissions are the caller's.
    /// Returns what puts everything back.
    func redirect(_ edge: BlockChild, to node: BlockNode) -> @GraphActor @Sendable () -> Void {
        let former = edge.node
        let place = former.parents.firstIndex { $0 === edge } ?? former.parents.count
        former.parents.removeAll { $0 === edge }
        edge.point(to: node)
        node.parents.append(edge)
        return {
            node.parents.removeAll { $0 === edge }
            edge.point(to: former)
            former.parents.insert(edge, at: min(place, former.parents.count))
        }
    }

    /// Takes an edge away. Returns what puts it back in its places.
    func remove(_ edge: BlockChild, of parent: BlockNode) -> @GraphActor @Sendable () -> Void {
        let place = parent.children.firstIndex { $0 === edge } ?? parent.children.count
        let placeBelow = edge.node.parents.firstIndex { $0 === edge } ?? edge.node.parents.count
        unlink(edge)
        return {
            parent.children.insert(edge, at: min(place, parent.children.count))
            edge.node.parents.insert(edge, at: min(placeBelow, edge.node.parents.count))
        }
    }

    /// Error: a node that is to be below another one is above it.
    func checkCycle(_ parent: BlockNode, _ edgeName: String, _ node: BlockNode) throws(BlockError) {
        guard reaches(node, parent) else { return }
        throw BlockError("Making '\(node.name)' a \(edgeName) child of '\(parent.name)' would create a cycle")
    }

    /// Whether `node` is `other` or above it.
    public func reaches(_ node: BlockNode, _ other: BlockNode) -> Bool {
        nodesBelow([node]).contains { $0 === other }
    }

    /// The given nodes and all below them, each once, parents before children.
    func nodesBelow(_ roots: [BlockNode]) -> [BlockNode] {
        var visited: Set<ObjectIdentifier> = []
        var finished: [BlockNode] = []
        func visit(_ node: BlockNode) {
            guard visited.insert(ObjectIdentifier(node)).inserted else { return }
            for child in node.children.reversed() { visit(child.node) }
            finished.append(node)
        }
        for root in roots.reversed() { visit(root) }
        return finished.reversed()
    }

    /// The given nodes and all above them, each once.
    func nodesAbove(_ nodes: [BlockNode]) -> [BlockNode] {
        var visited: Set<ObjectIdentifier> = []
        var found: [BlockNode] = []
        func visit(_ node: BlockNode) {
            guard visited.insert(ObjectIdentifier(node)).inserted else { return }
            found.append(node)
            for edge in node.parents { if case .node(let parent) = edge.parent { visit(parent) } }
        }
        for node in nodes { visit(node) }
        return found
    }

    /// The backends that reach one of the nodes.
    func backendsAbove(_ nodes: [BlockNode]) -> [BlockBackend] {
        nodesAbove(nodes).flatMap { node in
            node.parents.compactMap { edge in
                guard case .backend(let backend) = edge.parent else { return nil }
                return backend
            }
        }
    }
}
