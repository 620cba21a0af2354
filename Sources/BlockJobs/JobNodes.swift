import BlockGraph
import IOLoop

/// The nodes that a job uses. As long as it does, no command may do anything else with them.
///
/// A job does all its I/O through the backends given here, so that drained sections stop it: it is shown as paused then.
@GraphActor
public final class JobNodes: BackendHolder {
    /// The job's name.
    public nonisolated let name: String
    /// The users of the nodes, in the order in which they came.
    public private(set) var backends: [BlockBackend] = []

    private let type: JobType
    private let blocker: OperationBlocker
    private var blockers: [(node: BlockNode, blocker: OperationBlocker)] = []
    private weak var job: Job?

    init(_ job: Job) {
        name = job.id
        type = job.options.type
        blocker = OperationBlocker("block device is in use by block job: \(job.options.type.rawValue)")
        self.job = job
    }

    /// Makes the job a user of a node, under the name that queries and messages tell ("main node", "target", ...), and forbids
    /// all commands on the node but those that `allowed` names.
    ///
    /// By default nothing is used and everything shared: for nodes on which others do the work, or which only must stay.
    /// Errors: another user does not share a permission, or the driver refuses one.
    @discardableResult
    public func add(
        _ node: BlockNode, as edgeName: String, permissions: PermissionPair = PermissionPair(),
        allowing allowed: Set<BlockOperation> = []
    ) throws(BlockError) -> BlockBackend {
        let backend = try node.graph.attach(
            "\(type.rawValue) job '\(name)'", to: node, as: edgeName, permissions: permissions, holder: self)
        backends.append(backend)
        let blocker =
            allowed.isEmpty
            ? blocker
            : OperationBlocker(blocker.reason, operations: blocker.operations.subtracting(allowed))
        blockers.append((node, blocker))
        node.block(blocker)
        return backend
    }

    /// Lets go of all nodes; those that nobody else uses are closed. No request may be under way. May be called again.
    public func release() async {
        let released = backends
        backends = []
        for (node, blocker) in blockers { node.unblock(blocker) }
        blockers = []
        for backend in released.reversed() {
            let node = backend.node
            backend.graph.release(backend)
            await backend.graph.closeIfUnused(node)
        }
    }

    public func drainedSectionBegan() { job?.drainedSectionBegan() }
    public func drainedSectionEnded() { job?.drainedSectionEnded() }
}
