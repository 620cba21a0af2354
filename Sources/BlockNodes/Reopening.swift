import BlockGraph
import IOLoop
import QMPSchema

/// A reopening that may still be taken back: `finish` or `undo` follows.
@GraphActor
public struct Reopening {
    /// How a node was before.
    fileprivate struct Former {
        let node: BlockNode
        let options: NodeOptions
        let driverOptions: any Sendable
        let sourceOptions: (any Sendable)?
        let children: [(edge: BlockChild, node: BlockNode)]
        let lostBacking: BlockNode?
        let hasGainedBacking: Bool

        /// What makes the node what it was.
        @GraphActor var item: ReopenItem {
            ReopenItem(
                node: node, options: options, driverOptions: driverOptions, sourceOptions: sourceOptions,
                newChildren: children, addedBacking: lostBacking,
                removedChildren: hasGainedBacking ? node.child(named: "backing").map { [$0] } ?? [] : [])
        }
    }

    fileprivate let graph: BlockGraph
    fileprivate let formers: [Former]
    fileprivate var formerChildren: [BlockNode] = []

    /// Closes children that nobody uses any more.
    public func finish() async {
        for node in formerChildren { await graph.closeIfUnused(node) }
    }

    /// Gives all nodes the options and children that they had. Where that cannot be done, for an image that has become
    /// unreadable for example, somebody who looks after the daemon is told.
    public func undo() async {
        do {
            try await graph.reopen(formers.reversed().map(\.item))
        } catch {
            graph.complain("Could not take a reopening back: \(error)")
        }
    }
}

extension NodeFactory {
    /// Gives nodes other options and other children: `blockdev-reopen`. On an error, all stay as they were.
    ///
    /// Errors, with QEMU's texts: a node is not named or does not exist; an option cannot change; whatever the graph
    /// and the drivers say.
    public func reopen(_ nodes: [BlockdevOptions]) async throws(BlockError) {
        await (try beginReopening(nodes)).finish()
    }

    /// Does the same, but leaves children open that nobody uses any more. Errors: as above.
    public func beginReopening(_ nodes: [BlockdevOptions]) async throws(BlockError) -> Reopening {
        let items = try reopenItems(nodes)
        var reopening = Reopening(graph: graph, formers: items.compactMap(former))
        reopening.formerChildren = try await graph.reopenKeepingFormerChildren(items)
        return reopening
    }

    /// How the node of an item is before that takes effect; nil for nodes without options of their own, which keep them.
    private func former(_ item: ReopenItem) -> Reopening.Former? {
        let node = item.node
        guard let source = node.sourceOptions as? BlockdevOptions,
            let driverOptions = try? configuration(of: source.driver, node.options).forReopening
        else { return nil }
        return Reopening.Former(
            node: node, options: node.options, driverOptions: driverOptions, sourceOptions: source,
            children: item.newChildren.map { ($0.edge, $0.edge.node) },
            lostBacking: item.removedChildren.first { $0.name == "backing" }?.node,
            hasGainedBacking: item.addedBacking != nil)
    }
}
