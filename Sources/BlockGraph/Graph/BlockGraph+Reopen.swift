import IOLoop

/// What a node is to become in a reopening.
public struct ReopenItem: Sendable {
    /// The node.
    public let node: BlockNode
    /// The options that all drivers have in common, as they are to be.
    public let options: NodeOptions
    /// The driver's options, as they are to be: of the type that the driver understands.
    public let driverOptions: any Sendable
    /// The options as given, kept for queries.
    public let sourceOptions: (any Sendable)?
    /// The children that are to be other nodes: the edge and its new node.
    public let newChildren: [(edge: BlockChild, node: BlockNode)]
    /// The backing image that a node without one is to get.
    public let addedBacking: BlockNode?
    /// The children that the node is to lose.
    public let removedChildren: [BlockChild]

    /// An item with its parts.
    public init(
        node: BlockNode, options: NodeOptions, driverOptions: any Sendable, sourceOptions: (any Sendable)?,
        newChildren: [(edge: BlockChild, node: BlockNode)], addedBacking: BlockNode? = nil,
        removedChildren: [BlockChild] = []
    ) {
        self.addedBacking = addedBacking
        self.removedChildren = removedChildren
        self.node = node
        self.options = options
        self.driverOptions = driverOptions
        self.sourceOptions = sourceOptions
        self.newChildren = newChildren
    }
}

extension BlockGraph {
    /// Gives nodes other options and other children, all of them or, on an error, none.
    ///
    /// A driver that uses a child which is added or removed takes note of that in `prepareReopen`.
    /// Errors: a new child would be above its parent; a permission conflict; whatever a driver says of its options.
    public func reopen(_ items: [ReopenItem]) async throws(BlockError) {
        for node in try await reopenKeepingFormerChildren(items) { await closeIfUnused(node) }
    }

    /// Does the same, but leaves children open that nobody uses any more: until `closeIfUnused`.
    ///
    /// - Returns: the children that nodes have lost.
    public func reopenKeepingFormerChildren(_ items: [ReopenItem]) async throws(BlockError) -> [BlockNode] {
        let touched = items.flatMap { item in
            [item.node] + item.newChildren.flatMap { [$0.edge.node, $0.node] } + item.removedChildren.map(\.node)
                + (item.addedBacking.map { [$0] } ?? [])
        }
        return try await drained(touched) { () async throws(BlockError) in
            try await self.reopenDrained(items)
        }
    }

    /// Does the reopening in a drained section; the former children.
    private func reopenDrained(_ items: [ReopenItem]) async throws(BlockError) -> [BlockNode] {
        var undo: [@GraphActor @Sendable () -> Void] = []
        var actions: [ReopenAction] = []
        var formerChildren: [BlockNode] = []
        // Those that must be made writable: in the end, or again.
        let writable = items.map(\.node).filter(\.isReadOnly)
        var stored: [BlockNode] = []
        do {
            for item in items where item.options.isReadOnly && !item.node.isReadOnly {
                stored.append(item.node)
                try await item.node.driver.becomeReadOnly()
            }
            for item in items {
                try await item.node.driver.settle(before: item.options, of: item.node)
                if item.options.isReadOnly { try await flushForGood(item.node) }
            }
            for item in items {
                for (edge, node) in item.newChildren where edge.node !== node {
                    try edge.checkNotFrozen()
                    try checkCycle(item.node, edge.name, node)
                    formerChildren.append(edge.node)
                    undo.append(redirect(edge, to: node))
                }
                if let backing = item.addedBacking {
                    try checkCycle(item.node, "backing", backing)
                    let edge = attach(backing, to: item.node, as: "backing", role: .copyOnWrite)
                    undo.append { self.unlink(edge) }
                }
                for edge in item.removedChildren {
                    try edge.checkNotFrozen()
                    formerChildren.append(edge.node)
                    undo.append(remove(edge, of: item.node))
                }
                let options = item.node.currentOptions
                item.node.currentOptions = item.options
                undo.append { item.node.currentOptions = options }
            }
            for item in items {
                let request = ReopenRequest(
                    node: item.node, nodeOptions: item.options, driverOptions: item.driverOptions)
                actions.append(try await item.node.driver.prepareReopen(request))
            }
            try refreshPermissions(below: items.map(\.node) + formerChildren, isReopening: true)
        } catch {
            for action in actions.reversed() { action.abort() }
            for step in undo.reversed() { step() }
            relaxPermissions(below: items.map(\.node) + formerChildren)
            for node in stored { await node.driver.becomeWritable() }
            throw error
        }
        for action in actions { action.commit() }
        for item in items { item.node.sourceOptions = item.sourceOptions }
        // Other limits below are other limits above.
        for node in nodesAbove(items.map(\.node)) { node.didStart() }
        for action in actions { await action.finish() }
        for node in writable where !node.isReadOnly { await node.driver.becomeWritable() }
        return formerChildren
    }

    /// Flushes a node that is to be read-only: nobody will flush it later.
    private func flushForGood(_ node: BlockNode) async throws(BlockError) {
        do {
            try await node.flush()
        } catch {
            throw BlockError("Could not flush node '\(node.name)'", causedBy: error)
        }
    }
}
