import BlockGraph
import IOLoop

/// A node that is offered to clients outside of the daemon.
@GraphActor
public protocol BlockExport: AnyObject, Sendable {
    /// The export's id, unique among all exports.
    var id: String { get }
    /// The kind of the export in QMP: "nbd".
    var typeName: String { get }
    /// The exported node, nil where the export is gone. Filters of jobs take its place.
    var node: BlockNode? { get }
    /// The name of the exported node.
    var nodeName: String { get }
    /// Whether the export is going away.
    var isShuttingDown: Bool { get }
    /// Whether new clients do not find the export: it is not there yet, or not any more.
    var isHidden: Bool { get set }
    /// Whether clients use the export now.
    var hasClients: Bool { get }
    /// Hides the export, which is about to go away: it does not count as a user of its node, and unless a client may still write,
    /// it gives up its permissions. `disconnectClients` and `shutDown` follow, or `reinstate`.
    func withdraw()
    /// Disconnects the clients: no reply reaches them any more. Their requests under way go on.
    func disconnectClients()
    /// Takes `withdraw` back.
    func reinstate()
    /// Disconnects the clients, waits until their requests under way have come back, and lets go of the node.
    func shutDown() async
}

/// How to treat clients of an export that is to be removed.
public enum BlockExportRemoveMode: String, Sendable {
    /// Keep the export if there are clients.
    case safe
    /// Disconnect the clients.
    case hard
}
