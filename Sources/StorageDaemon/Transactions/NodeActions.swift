import BlockGraph
import BlockNodes
import IOLoop
import QAPI
import QMPSchema

/// `blockdev-add`.
final class AddNodeAction: UndoableAction {
    private let factory: NodeFactory
    private let options: BlockdevOptions
    private var node: BlockNode?

    init(_ options: BlockdevOptions, factory: NodeFactory) {
        self.factory = factory
        self.options = options
    }

    var nodes: [BlockNode] { options.referencedNodes.flatMap(factory.graph.nodes(named:)) }

    func prepare() async throws(QMPError) {
        guard options.nodeName != nil else { throw QMPError("'node-name' must be specified for the root node") }
        node = try await reporting { () async throws(BlockError) in
            try await factory.open(options, isRoot: true)
        }
    }

    func abort() async {
        guard let node else { return }
        // Nobody has come to use it who is still there.
        try? await factory.graph.delete(node)
    }
}

/// `blockdev-del`. The node is there until the end, but nobody finds it.
final class DeleteNodeAction: UndoableAction {
    private let graph: BlockGraph
    private let arguments: BlockdevDel
    private var node: BlockNode?
    private var isFinal = false

    init(_ arguments: BlockdevDel, in graph: BlockGraph) {
        self.graph = graph
        self.arguments = arguments
    }

    var nodes: [BlockNode] { graph.nodes(named: arguments.nodeName) }

    func prepare() async throws(QMPError) {
        guard let node = graph.node(named: arguments.nodeName) else {
            throw QMPError("Failed to find node with node-name='\(arguments.nodeName)'")
        }
        try await reporting { () throws(BlockError) in try graph.beginDeletion(of: node) }
        self.node = node
    }

    func commit() async { isFinal = true }

    func abort() async {
        guard let node else { return }
        graph.cancelDeletion(of: node)
    }

    func clean() async {
        guard let node, isFinal else { return }
        await graph.finishDeletion(of: node)
    }
}

/// `blockdev-reopen`.
final class ReopenNodesAction: UndoableAction {
    private let factory: NodeFactory
    private let arguments: BlockdevReopen
    private var reopening: Reopening?
    private var isFinal = false

    init(_ arguments: BlockdevReopen, factory: NodeFactory) {
        self.factory = factory
        self.arguments = arguments
    }

    var nodes: [BlockNode] {
        arguments.options.flatMap { options in
            ([options.nodeName].compactMap(\.self) + options.referencedNodes).flatMap(factory.graph.nodes(named:))
        }
    }

    func prepare() async throws(QMPError) {
        reopening = try await reporting { () async throws(BlockError) in
            try await factory.beginReopening(arguments.options)
        }
    }

    func commit() async { isFinal = true }
    func abort() async { await reopening?.undo() }

    func clean() async {
        if isFinal { await reopening?.finish() }
    }
}

extension BlockdevOptions {
    /// The names of the nodes that exist and become children, also of nodes that are defined within.
    fileprivate var referencedNodes: [String] {
        driver.children.flatMap { _, reference in
            switch reference {
            case .reference(let name): [name]
            case .definition(let options): options.referencedNodes
            }
        }
    }
}
