import IOLoop

/// Links that nobody may change as long as somebody counts on them.
@GraphActor
public final class FrozenChain {
    private var edges: [BlockChild]

    fileprivate init(_ edges: [BlockChild]) {
        self.edges = edges
        for edge in edges { edge.freezeCount += 1 }
    }

    /// Lets the links be changed again, as far as nobody else keeps them. May be called again.
    public func thaw() {
        for edge in edges { edge.freezeCount -= 1 }
        edges = []
    }
}

extension BlockGraph {
    /// Keeps the links between a node and another one below it, of filters and overlays, until `thaw` is called.
    ///
    /// Error: the other node is not in the node's chain; a link that follows is nobody's business.
    public func freeze(from top: BlockNode, to bottom: BlockNode) throws(BlockError) -> FrozenChain {
        var edges: [BlockChild] = []
        var node = top
        while node !== bottom {
            guard let edge = node.driver.filteredChild ?? node.driver.backingChild else {
                throw BlockError("Node '\(bottom.name)' is not in a chain starting from '\(top.name)'")
            }
            edges.append(edge)
            node = edge.node
        }
        return FrozenChain(edges)
    }
}

extension BlockChild {
    /// Whether the link may not be changed.
    @GraphActor var isFrozen: Bool { freezeCount > 0 }

    /// Checks that the link may be changed. Error: it is frozen.
    @GraphActor func checkNotFrozen() throws(BlockError) {
        guard isFrozen, case .node(let parent) = parent else { return }
        throw BlockError("Cannot change frozen '\(name)' link from '\(parent.name)' to '\(node.name)'")
    }
}
