import IOLoop

/// One change of the graph.
public enum GraphStep: Sendable {
    /// The edges of the first node's parents come to the second, as far as the condition says. Edges from the second node and
    /// from what is below it stay, so that a filter above the first node can take its place.
    case replace(BlockNode, by: BlockNode, where: @GraphActor @Sendable (BlockChild) -> Bool)
    /// The node gets another backing node, or loses the one that it has.
    case setBacking(of: BlockNode, to: BlockNode?)
}

/// What takes changes of the graph back.
@GraphActor
public struct GraphUndo: Sendable {
    fileprivate let graph: BlockGraph
    fileprivate let touched: [BlockNode]
    fileprivate let steps: [@GraphActor @Sendable () -> Void]

    /// Puts everything back, in a drained section. Later changes of the same edges have been taken back before.
    public func run() async {
        // Draining itself does not fail.
        try? await graph.drained(touched) { () async throws(BlockError) in
            for step in steps.reversed() { step() }
            graph.relaxPermissions(below: touched)
            graph.noteChanges(at: touched)
        }
    }
}

extension BlockGraph {
    /// Puts a node in the place of another: see `GraphStep.replace`. What nobody uses any more stays open until `closeIfUnused`.
    /// Errors: a permission conflict; nothing has changed then.
    public func replace(
        _ node: BlockNode, by other: BlockNode,
        where moves: @escaping @GraphActor @Sendable (BlockChild) -> Bool = { _ in true }
    ) async throws(BlockError) {
        _ = try await change([.replace(node, by: other, where: moves)])
    }

    /// Gives a node another backing node, or none. The former one stays open until `closeIfUnused`.
    /// Errors: the backing node would be above the node; a permission conflict. Nothing has changed then.
    public func setBacking(of node: BlockNode, to backing: BlockNode?) async throws(BlockError) {
        _ = try await change([.setBacking(of: node, to: backing)])
    }

    /// Makes several changes in one drained section, all of them or, on an error, none. Permissions are looked at when all
    /// have been made.
    ///
    /// - Returns: what takes them back.
    /// Errors: a node would be above itself; a permission conflict.
    @discardableResult
    public func change(_ steps: [GraphStep]) async throws(BlockError) -> GraphUndo {
        let touched = steps.flatMap(\.nodes)
        return try await drained(touched) { () async throws(BlockError) in
            try self.changeDrained(steps, touched)
        }
    }

    private func changeDrained(_ steps: [GraphStep], _ touched: [BlockNode]) throws(BlockError) -> GraphUndo {
        var undo: [@GraphActor @Sendable () -> Void] = []
        do {
            for step in steps { undo += try apply(step) }
            try refreshPermissions(below: touched)
        } catch {
            for step in undo.reversed() { step() }
            relaxPermissions(below: touched)
            throw error
        }
        noteChanges(at: touched)
        return GraphUndo(graph: self, touched: touched, steps: undo)
    }

    private func apply(_ step: GraphStep) throws(BlockError) -> [@GraphActor @Sendable () -> Void] {
        switch step {
        case .replace(let node, let other, let moves):
            var undo: [@GraphActor @Sendable () -> Void] = []
            for edge in node.parents where moves(edge) {
                if case .node(let parent) = edge.parent {
                    if reaches(other, parent) { continue }
                    guard !edge.isFrozen else {
                        throw BlockError("Cannot change '\(edge.name)' link from '\(parent.name)' to '\(node.name)'")
                    }
                }
                undo.append(redirect(edge, to: other))
            }
            return undo
        case .setBacking(let node, let backing):
            let edge = node.driver.backingChild
            try edge?.checkNotFrozen()
            switch (edge, backing) {
            case (let edge?, let backing?):
                try checkCycle(node, edge.name, backing)
                return [redirect(edge, to: backing)]
            case (nil, let backing?):
                try checkCycle(node, "backing", backing)
                let edge = attach(backing, to: node, as: "backing", role: .copyOnWrite)
                return [{ self.unlink(edge) }]
            case (let edge?, nil): return [remove(edge, of: node)]
            case (nil, nil): return []
            }
        }
    }

    /// Lets drivers know of their children, and takes over what nodes above know of those below.
    fileprivate func noteChanges(at nodes: [BlockNode]) {
        for node in nodes { node.driver.childrenChanged(in: node) }
        for node in nodesAbove(nodes) { node.didStart() }
    }
}

extension GraphStep {
    /// The nodes that a step concerns.
    fileprivate var nodes: [BlockNode] {
        switch self {
        case .replace(let node, let other, _): [node, other]
        case .setBacking(let node, let backing): [node] + (backing.map { [$0] } ?? [])
        }
    }
}
