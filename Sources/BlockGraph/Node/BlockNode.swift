import IOLoop
import Synchronization

/// A node of the block graph: a driver with its children, the parents above it, and what all nodes have in common:
/// request tracking, padding of unaligned requests, dirty bitmaps, permissions.
public final class BlockNode: Sendable {
    /// The node's name, unique in its graph.
    public let name: String
    /// Whether the name was made up by the graph.
    public let hasGeneratedName: Bool
    /// The graph that the node belongs to.
    public let graph: BlockGraph
    /// The dirty bitmaps of the node.
    public let bitmaps: DirtyBitmapList
    /// Counters and the write threshold.
    public let statistics = NodeStatistics()

    /// The node's place in the order in which nodes were made.
    let number: Int
    /// The requests under way, tracked once `tracksRequests` is set.
    let tracker = RangeTracker()

    /// The edges to the children, in the order in which they were attached.
    @GraphActor public internal(set) var children: [BlockChild] = []
    /// The edges from the parents, in the order in which they were attached.
    @GraphActor public internal(set) var parents: [BlockChild] = [] {
        didSet { hasSeveralParents.store(parents.count > 1, ordering: .relaxed) }
    }
    /// Whether a client made the node and has not deleted it: it stays without any parent.
    @GraphActor public internal(set) var isOwnedByMonitor = false
    /// Whether the node is about to go away, and not to be found any more.
    @GraphActor var isBeingDeleted = false
    /// The options as they were given, for queries and for reopening: of the type that the driver understands.
    @GraphActor public var sourceOptions: (any Sendable)?
    /// What forbids operations on the node, the newest last; see `block`.
    @GraphActor var blockers: [OperationBlocker] = []
    /// The permissions that the parents have in all.
    @GraphActor public internal(set) var permissions = PermissionPair()

    private let hasSeveralParents = Atomic<Bool>(false)
    /// Set while the node is built, before any I/O, and constant then.
    private nonisolated(unsafe) var openedDriver: (any BlockDriver)?
    /// Written on the `GraphActor`, before any I/O or in drained sections, when no I/O reads them.
    nonisolated(unsafe) var currentOptions: NodeOptions
    nonisolated(unsafe) var tracksRequests = false

    init(name: String, hasGeneratedName: Bool, options: NodeOptions, graph: BlockGraph, number: Int) {
        self.number = number
        self.name = name
        self.hasGeneratedName = hasGeneratedName
        self.currentOptions = options
        self.graph = graph
        self.bitmaps = DirtyBitmapList()
    }

    /// The driver.
    public var driver: any BlockDriver {
        guard let openedDriver else { preconditionFailure("node '\(name)' is used before it is open") }
        return openedDriver
    }

    /// The driver, nil while the node is being opened.
    var driverIfOpen: (any BlockDriver)? { openedDriver }

    /// The options that all drivers have in common. Constant outside of drained sections.
    public var options: NodeOptions { currentOptions }

    /// Whether more than one parent uses the node. From any thread; another one may come at any time.
    public var isShared: Bool { hasSeveralParents.load(ordering: .relaxed) }

    /// Whether writes are refused.
    public var isReadOnly: Bool { currentOptions.isReadOnly }

    /// The length of what the node shows, in bytes.
    public var length: Int64 { driver.length }

    /// Installs the driver; once, at the end of opening.
    @GraphActor func install(_ driver: any BlockDriver) {
        openedDriver = driver
    }

    /// Takes over what the driver knows after its start or a reopening. Before any I/O or in a drained section.
    @GraphActor func didStart() { tracksRequests = tracksRequests || driver.limits.requestAlignment > 1 }

    /// The child of a name, nil where there is none.
    @GraphActor public func child(named name: String) -> BlockChild? { children.first { $0.name == name } }
}

/// Two nodes are equal when they are the same.
extension BlockNode: Hashable {
    public static func == (a: BlockNode, b: BlockNode) -> Bool { a === b }
    public func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(self)) }
}
