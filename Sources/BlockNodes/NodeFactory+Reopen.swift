import BlockGraph
import IOLoop
import QMPSchema

extension NodeFactory {
    /// Gives nodes other options and other children: `blockdev-reopen`. On an error, all stay as they were.
    ///
    /// Errors, with QEMU's texts: a node is not named or does not exist; an option cannot change; whatever the graph
    /// and the drivers say.
    public func reopen(_ nodes: [BlockdevOptions]) async throws(BlockError) {
        var items: [ReopenItem] = []
        for options in nodes {
            guard let name = options.nodeName else { throw BlockError("node-name not specified") }
            guard let node = graph.node(named: name) else {
                throw BlockError("Failed to find node with node-name='\(name)'")
            }
            try addItems(for: node, options, inheriting: nil, to: &items)
        }
        try await graph.reopen(items)
    }

    /// Adds what becomes of a node, and of the children that its options define.
    private func addItems(
        for node: BlockNode, _ options: BlockdevOptions, inheriting parent: NodeOptions?, to items: inout [ReopenItem]
    ) throws(BlockError) {
        try ReopenCheck(node: node, new: options).run()
        let nodeOptions = NodeOptions(options, inheriting: parent)
        try nodeOptions.check()
        var newChildren: [(edge: BlockChild, node: BlockNode)] = []
        for (name, reference) in options.driver.children {
            guard let edge = node.child(named: name) else { continue }
            switch reference {
            case .reference(let childName):
                guard let child = graph.node(named: childName) else {
                    throw BlockError("Cannot find device='' nor node-name='\(childName)'")
                }
                newChildren.append((edge, child))
                try addInheritingChild(child, of: node, nodeOptions, to: &items)
            case .definition(let definition):
                try addItems(for: edge.node, definition, inheriting: nodeOptions, to: &items)
            }
        }
        items.append(
            ReopenItem(
                node: node, options: nodeOptions,
                driverOptions: try configuration(of: options.driver, nodeOptions).forReopening,
                sourceOptions: options, newChildren: newChildren))
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
