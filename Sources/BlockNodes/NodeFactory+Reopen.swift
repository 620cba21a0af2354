import BlockGraph
import IOLoop
import QMPSchema

extension NodeFactory {
    /// What becomes of nodes that get other options.
    ///
    /// Errors, with QEMU's texts: a node is not named or does not exist; an option cannot change.
    func reopenItems(_ nodes: [BlockdevOptions]) throws(BlockError) -> [ReopenItem] {
        var items: [ReopenItem] = []
        for options in nodes {
            guard let name = options.nodeName else { throw BlockError("node-name not specified") }
            guard let node = graph.node(named: name) else {
                throw BlockError("Failed to find node with node-name='\(name)'")
            }
            try addItems(for: node, options, inheriting: nil, to: &items)
        }
        return items
    }

    /// Adds what becomes of a node, and of the children that its options define.
    private func addItems(
        for node: BlockNode, _ options: BlockdevOptions, inheriting parent: NodeOptions?, to items: inout [ReopenItem]
    ) throws(BlockError) {
        try ReopenCheck(node: node, new: options).run()
        let nodeOptions = NodeOptions(options, inheriting: parent)
        try nodeOptions.check()
        let children = try childChanges(of: node, options, nodeOptions, items: &items)
        items.append(
            ReopenItem(
                node: node, options: nodeOptions,
                driverOptions: try configuration(of: options.driver, nodeOptions).forReopening,
                sourceOptions: options, newChildren: children.replaced, addedBacking: children.addedBacking,
                removedChildren: children.removed))
    }

    /// What becomes of the children of a node.
    private struct ChildChanges {
        var replaced: [(edge: BlockChild, node: BlockNode)] = []
        var addedBacking: BlockNode?
        var removed: [BlockChild] = []
    }

    /// Finds out what becomes of the children, and adds what becomes of nodes below.
    private func childChanges(
        of node: BlockNode, _ options: BlockdevOptions, _ nodeOptions: NodeOptions, items: inout [ReopenItem]
    ) throws(BlockError) -> ChildChanges {
        var changes = ChildChanges()
        if case .qcow2(let qcow2) = options.driver, case .null = qcow2.backing, let edge = node.child(named: "backing")
        {
            changes.removed.append(edge)
        }
        for (name, reference) in options.driver.children {
            let inherited = nodeOptions.inherited(byChild: name)
            switch (reference, node.child(named: name)) {
            case (.reference(let childName), let edge):
                guard let child = graph.node(named: childName) else {
                    throw BlockError("Cannot find device='' nor node-name='\(childName)'")
                }
                if let edge {
                    changes.replaced.append((edge, child))
                    try addInheritingChild(child, of: node, inherited, to: &items)
                } else {
                    changes.addedBacking = child
                }
            case (.definition(let definition), let edge?):
                try addItems(for: edge.node, definition, inheriting: inherited, to: &items)
            case (.definition, nil): break
            }
        }
        return changes
    }

    /// A child that was defined in its parent's options goes on inheriting from them when it is named.
    private func addInheritingChild(
        _ child: BlockNode, of parent: BlockNode, _ options: NodeOptions, to items: inout [ReopenItem]
    ) throws(BlockError) {
        guard !child.isOwnedByMonitor, parent.children.contains(where: { $0.node === child }),
            let source = child.sourceOptions as? BlockdevOptions
        else { return }
        try addItems(for: child, source, inheriting: options, to: &items)
    }
}
