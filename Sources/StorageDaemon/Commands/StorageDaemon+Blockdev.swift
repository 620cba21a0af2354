import BlockDrivers
import BlockGraph
import BlockNodes
import IOLoop
import QAPI
import QMPSchema

/// Nodes: `blockdev-add`, `blockdev-reopen`, `blockdev-del`, `block_resize`, `change-backing-file`,
/// `block-set-write-threshold`.
extension StorageDaemon {
    func blockdevAdd(_ options: BlockdevOptions) async throws(QMPError) {
        try await run(AddNodeAction(options, factory: nodeFactory))
    }

    func blockdevReopen(_ arguments: BlockdevReopen) async throws(QMPError) {
        try await run(ReopenNodesAction(arguments, factory: nodeFactory))
    }

    func blockdevDel(_ arguments: BlockdevDel) async throws(QMPError) {
        try await run(DeleteNodeAction(arguments, in: graph))
    }

    func blockResize(_ arguments: BlockResizeArguments) async throws(QMPError) {
        guard let node = arguments.nodeName.flatMap({ graph.node(named: $0) }) else {
            throw QMPError(
                "Cannot find device='\(arguments.device ?? "")' nor node-name='\(arguments.nodeName ?? "")'")
        }
        guard arguments.size >= 0 else { throw QMPError("Parameter 'size' expects a >0 size") }
        try await reporting { () async throws(BlockError) in
            try node.checkNotBlocked(for: .resize)
            let backend = try graph.attach(
                "an unnamed block device", to: node, permissions: PermissionPair(used: .resize))
            defer { graph.release(backend) }
            try await graph.drained([node]) { () async throws(BlockError) in
                try await node.resize(to: arguments.size, exact: false)
            }
        }
    }

    func changeBackingFile(_ arguments: ChangeBackingFileArguments) async throws(QMPError) {
        let top = try findNode(arguments.device)
        guard let node = graph.node(named: arguments.imageNodeName) else {
            throw QMPError("Cannot find device='' nor node-name='\(arguments.imageNodeName)'")
        }
        guard top.isRoot else { throw QMPError("Need a root block node") }
        try await reporting { () throws(BlockError) in try top.checkNotBlocked(for: .changeBackingFile) }
        if node.driver.backingChild == nil {
            throw QMPError("not allowing backing file change on an image without a backing file")
        }
        guard graph.chain(below: top).contains(node) else {
            throw QMPError("'\(arguments.device)' and image file are not in the same chain")
        }
        try await reporting { () async throws(BlockError) in
            try await nodeFactory.changeBackingFile(of: node, to: arguments.backingFile)
        }
    }

    func blockSetWriteThreshold(_ arguments: BlockSetWriteThresholdArguments) async throws(QMPError) {
        guard let node = graph.node(named: arguments.nodeName) else {
            throw QMPError("Device '\(arguments.nodeName)' not found")
        }
        node.statistics.setWriteThreshold(Int64(bitPattern: arguments.writeThreshold))
    }

    /// No driver of the daemon has nodes whose number of children may change.
    func xBlockdevChange(_ arguments: XBlockdevChangeArguments) async throws(QMPError) {
        let parent = try findNode(arguments.parent)
        switch (arguments.child, arguments.node) {
        case (nil, nil): throw QMPError("Either child or node must be specified")
        case (_?, _?): throw QMPError("The parameters child and node are in conflict")
        case (let child?, nil):
            guard parent.child(named: child) != nil else {
                throw QMPError("Node '\(parent.name)' does not have child '\(child)'")
            }
            throw QMPError("The node \(parent.name) does not support removing a child")
        case (nil, let node?):
            guard graph.node(named: node) != nil else { throw QMPError("Node '\(node)' not found") }
            throw QMPError("The node \(parent.name) does not support adding a child")
        }
    }

    /// The node that a command calls a device or a node. "Cannot find device='NAME' nor node-name='NAME'".
    func findNode(_ name: String) throws(QMPError) -> BlockNode {
        do {
            return try graph.requireNode(named: name)
        } catch {
            throw QMPError(error)
        }
    }

    /// Makes nodes with the objects of this daemon.
    var nodeFactory: NodeFactory {
        NodeFactory(graph: graph) { [objects] name in objects.object(name, as: ThrottleGroupObject.self)?.group }
    }
}
