import BlockDrivers
import BlockGraph
import BlockNodes
import IOLoop
import QAPI
import QMPSchema

/// `blockdev-snapshot`: an overlay that is open already takes the place of a node.
final class SnapshotAction: UndoableAction {
    private let factory: NodeFactory
    private let arguments: BlockdevSnapshot
    private var undo: GraphUndo?
    private var backing: BlockNode?

    init(_ arguments: BlockdevSnapshot, factory: NodeFactory) {
        self.factory = factory
        self.arguments = arguments
    }

    var nodes: [BlockNode] { [arguments.node, arguments.overlay].flatMap(factory.graph.nodes(named:)) }

    func prepare() async throws(QMPError) {
        undo = try await reporting { () async throws(BlockError) in
            let graph = factory.graph
            let node = try graph.requireNode(named: arguments.node)
            try node.checkNotBlocked(for: .externalSnapshot)
            return try await graph.putOverlay(try graph.requireNode(named: arguments.overlay), above: node)
        }
    }

    func commit() async { backing = factory.graph.node(named: arguments.node) }
    func abort() async { await undo?.run() }

    /// Nobody writes to the former top any more. Where it cannot be made read-only, it stays as it is.
    func clean() async {
        if let backing { try? await factory.makeReadOnly(backing) }
    }
}

/// `blockdev-snapshot-sync`: an overlay in a file, which is made where nothing else is said, takes the place of a node.
final class SnapshotSyncAction: UndoableAction {
    private let factory: NodeFactory
    private let arguments: BlockdevSnapshotSync
    private var overlay: BlockNode?
    private var undo: GraphUndo?
    private var isFinal = false

    init(_ arguments: BlockdevSnapshotSync, factory: NodeFactory) {
        self.factory = factory
        self.arguments = arguments
    }

    private var graph: BlockGraph { factory.graph }

    var nodes: [BlockNode] { graph.nodes(named: arguments.nodeName ?? "") }

    func prepare() async throws(QMPError) {
        guard let node = graph.node(named: arguments.nodeName ?? "") else {
            throw QMPError(
                "Cannot find device='\(arguments.device ?? "")' nor node-name='\(arguments.nodeName ?? "")'")
        }
        guard let name = arguments.snapshotNodeName else { throw QMPError("New overlay node-name missing") }
        if graph.node(named: name) != nil { throw QMPError("New overlay node-name already in use") }
        try await reporting { () async throws(BlockError) in
            try node.checkNotBlocked(for: .externalSnapshot)
            try await self.put(try await self.open(above: node, name: name), above: node)
        }
    }

    private func put(_ overlay: BlockNode, above node: BlockNode) async throws(BlockError) {
        do {
            undo = try await graph.putOverlay(overlay, above: node)
        } catch {
            await graph.closeIfUnused(overlay)
            throw error
        }
        self.overlay = overlay
    }

    /// Makes the overlay's file, where it is to be made, and opens it without a backing image.
    private func open(above node: BlockNode, name: String) async throws(BlockError) -> BlockNode {
        let format = arguments.format ?? "qcow2"
        if arguments.mode != .existing {
            var image = NewImage(filename: arguments.snapshotFile, format: format, size: node.length)
            image.setBacking(node)
            try await factory.create(image)
        }
        return try await factory.openImage(
            named: arguments.snapshotFile, format: format, nodeName: name, options: node.options, opensBacking: false)
    }

    func commit() async { isFinal = true }

    func abort() async {
        await undo?.run()
        if let overlay { await graph.closeIfUnused(overlay) }
    }

    func clean() async {
        guard isFinal, let overlay else { return }
        // Where it cannot be made read-only, it stays as it is.
        if let backing = overlay.driver.backingChild?.node { try? await factory.makeReadOnly(backing) }
        // Where nobody uses the node, nobody uses the overlay.
        await graph.closeIfUnused(overlay)
    }
}

/// `blockdev-snapshot-internal-sync`.
final class InternalSnapshotAction: UndoableAction {
    private let daemon: StorageDaemon
    private let arguments: BlockdevSnapshotInternal
    private var made: (store: any InternalSnapshotStore, owner: BlockNode, id: String)?

    init(_ arguments: BlockdevSnapshotInternal, daemon: StorageDaemon) {
        self.daemon = daemon
        self.arguments = arguments
    }

    var nodes: [BlockNode] { daemon.graph.nodes(named: arguments.device) }

    func prepare() async throws(QMPError) {
        let (device, name) = (arguments.device, arguments.name)
        let node = try daemon.findRootNode(device)
        try await reporting { () throws(BlockError) in try node.checkNotBlocked(for: .internalSnapshot) }
        if node.isReadOnly { throw QMPError("Device '\(device)' is read only") }
        guard let (owner, store) = node.snapshotStore else {
            throw QMPError(
                """
                Block format '\(node.driver.formatName)' used by device '\(device)' does not support internal \
                snapshots
                """)
        }
        if name.isEmpty { throw QMPError("Name is empty") }
        if try daemon.list(store).contains(where: { $0.name == name }) {
            throw QMPError("Snapshot with name '\(name)' already exists on device '\(device)'")
        }
        let snapshot = try await reporting { () async throws(BlockError) in
            try await daemon.graph.drained([owner]) { () async throws(BlockError) in
                do throws(Errno) {
                    return try await store.create(name: name)
                } catch {
                    throw BlockError("Failed to create snapshot '\(name)' on device '\(device)'", causedBy: error)
                }
            }
        }
        made = (store, owner, snapshot.id)
    }

    func abort() async {
        guard let (store, owner, id) = made else { return }
        do {
            try await daemon.graph.drained([owner]) { () async throws(BlockError) in try await store.delete(id: id) }
        } catch {
            daemon.graph.complain("Could not take snapshot '\(arguments.name)' back: \(error)")
        }
    }
}

extension BlockGraph {
    /// Gives an overlay a node as its backing image, and the node's place. Returns what takes that back.
    ///
    /// Errors, with QEMU's texts: the overlay is in use, or has a backing image, or cannot have one; a permission conflict.
    fileprivate func putOverlay(_ overlay: BlockNode, above node: BlockNode) async throws(BlockError) -> GraphUndo {
        let isUsed = overlay.parents.contains { edge in
            if case .backend = edge.parent { overlay !== node } else { false }
        }
        if isUsed { throw BlockError("The overlay is already in use") }
        guard overlay.driver is Qcow2Driver else { throw BlockError("The overlay does not support backing images") }
        if overlay.driver.backingChild != nil { throw BlockError("The overlay already has a backing image") }
        return try await change([.setBacking(of: overlay, to: node), .replace(node, by: overlay, where: { _ in true })])
    }
}
