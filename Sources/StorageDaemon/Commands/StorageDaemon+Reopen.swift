import BlockDrivers
import BlockGraph
import QAPI
import QMPSchema

/// `blockdev-reopen`: other options and other children for nodes that stay in use.
extension StorageDaemon {
    func blockdevReopen(_ arguments: BlockdevReopenArguments) async throws(QMPError) {
        try await reporting { () async throws(BlockError) in
            var items: [ReopenItem] = []
            for options in arguments.options {
                guard let name = options.nodeName else { throw BlockError("node-name not specified") }
                guard let node = graph.node(named: name) else {
                    throw BlockError("Failed to find node with node-name='\(name)'")
                }
                try addItems(for: node, options, inheriting: nil, to: &items)
            }
            try await graph.reopen(items)
        }
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
                driverOptions: try NodeFactory(graph: graph, objects: objects).reopenOptions(
                    options.driver, nodeOptions),
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

extension BlockdevOptions.Driver {
    /// The children that the options name or define, under their names as children.
    var children: [(name: String, reference: BlockdevRef)] {
        switch self {
        case .file, .hostDevice, .nullCo, .nullAio: []
        case .raw(let raw): [("file", raw.file)]
        case .copyBeforeWrite(let cbw): [("file", cbw.file), ("target", cbw.target)]
        case .snapshotAccess(let access): [("file", access.file)]
        case .throttle(let throttle): [("file", throttle.file)]
        case .blkdebug(let blkdebug): [("image", blkdebug.image)]
        }
    }
}
