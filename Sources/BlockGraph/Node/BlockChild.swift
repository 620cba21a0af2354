import IOLoop

/// The edge from a parent to a node: what the parent calls it, what it is for, and what the parent may do there.
public final class BlockChild: Sendable {
    /// The parent's name for it: "file", "backing", "target", ...
    public let name: String
    /// What the child is to its parent.
    public let role: ChildRole
    /// Who holds the edge.
    @GraphActor public private(set) var parent: BlockParent
    /// The node at the lower end. Changes only in drained sections of the parent, so that the I/O path may read it.
    public var node: BlockNode { current }
    /// The permissions that the parent has.
    @GraphActor public internal(set) var permissions = PermissionPair()

    /// How many count on the edge staying as it is; see `BlockGraph.freeze`.
    @GraphActor var freezeCount = 0

    /// Written on the `GraphActor` in drained sections, when no I/O reads it: the drain's gate orders the two.
    private nonisolated(unsafe) var current: BlockNode

    init(name: String, role: ChildRole, parent: BlockParent, node: BlockNode) {
        self.name = name
        self.role = role
        self.parent = parent
        self.current = node
    }

    /// Points the edge to another node; the caller keeps the nodes' lists of parents right.
    @GraphActor func point(to node: BlockNode) { current = node }

    /// The parent is closed: it and its driver's edges no longer keep each other alive.
    @GraphActor func forgetParent() { parent = .closed(parent.description) }
}

/// The upper end of an edge.
public enum BlockParent: Sendable {
    /// A node.
    case node(BlockNode)
    /// The user of a node from outside of the graph: an export, a job, a command.
    case backend(BlockBackend)
    /// What the parent was called before it was closed.
    case closed(String)

    /// The parent in a message: "node 'x'".
    public var description: String {
        switch self {
        case .node(let node): "node '\(node.name)'"
        case .backend(let backend): backend.description
        case .closed(let description): description
        }
    }
}
