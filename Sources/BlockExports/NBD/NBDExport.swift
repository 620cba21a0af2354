import BlockGraph
import IOLoop
import NBDProtocol

/// A node that NBD clients may read and, if the export is writable, write.
///
/// Made by ``NBDServer/export(_:in:)``. The size that clients see is the node's when the export was made.
public final class NBDExport: BlockExport {
    /// The export's id, unique among all exports.
    public let id: String
    /// What clients are told.
    public let info: NBDExportInfo

    let backend: BlockBackend
    let bitmaps: [DirtyBitmap]

    private let graph: BlockGraph
    private let loops: [IOLoop]
    private let onShutDown: @GraphActor (NBDExport) -> Void
    @GraphActor private var nextLoop = 0
    @GraphActor private var connections: [ObjectIdentifier: NBDConnection] = [:]
    private let clientLeft = WaitQueue()
    @GraphActor private var isGone = false
    /// What the export may do with its node again when it is reinstated.
    @GraphActor private var givenUp: PermissionPair?

    /// Whether new clients do not find the export.
    @GraphActor public var isHidden = false

    /// Whether the export is going away.
    @GraphActor public private(set) var isShuttingDown = false

    @GraphActor
    init(
        id: String, info: NBDExportInfo, backend: BlockBackend, bitmaps: [DirtyBitmap], loops: [IOLoop],
        onShutDown: @escaping @GraphActor (NBDExport) -> Void
    ) {
        self.id = id
        self.info = info
        self.backend = backend
        self.bitmaps = bitmaps
        self.graph = backend.graph
        self.loops = loops.isEmpty ? [.main] : loops
        self.onShutDown = onShutDown
        for bitmap in bitmaps { bitmap.isBusy = true }
    }

    /// "nbd"
    @GraphActor public var typeName: String { "nbd" }
    /// The name of the exported node.
    @GraphActor public var node: BlockNode? { isGone ? nil : backend.node }
    @GraphActor public var nodeName: String { isGone ? "" : backend.node.name }
    /// Whether clients are connected to the export.
    @GraphActor public var hasClients: Bool { !connections.isEmpty }
    /// How many clients are connected to the export.
    @GraphActor public var clientCount: Int { connections.count }

    /// The loop for the next connection.
    @GraphActor func takeLoop() -> IOLoop {
        defer { nextLoop = (nextLoop + 1) % loops.count }
        return loops[nextLoop]
    }

    @GraphActor func add(_ connection: NBDConnection) {
        connections[ObjectIdentifier(connection)] = connection
    }

    @GraphActor func remove(_ connection: NBDConnection) {
        connections[ObjectIdentifier(connection)] = nil
        clientLeft.notifyAll()
    }

    @GraphActor public func withdraw() {
        isHidden = true
        backend.isLeaving = true
        if !hasClients { for bitmap in bitmaps { bitmap.isBusy = false } }
        // What a client still writes must be allowed; what it still reads does not reach it any more.
        guard !hasClients || !info.isWritable else { return }
        givenUp = backend.permissions
        // Giving up does not conflict with anything.
        try? graph.setPermissions(PermissionPair(used: [], shared: .all), of: backend)
    }

    @GraphActor public func reinstate() {
        isHidden = false
        backend.isLeaving = false
        for bitmap in bitmaps { bitmap.isBusy = true }
        guard let permissions = givenUp else { return }
        givenUp = nil
        do {
            try graph.setPermissions(permissions, of: backend)
        } catch {
            graph.complain("Export '\(id)' has lost its permissions: \(error)")
        }
    }

    @GraphActor public func disconnectClients() {
        for connection in connections.values { connection.disconnect() }
    }

    /// Disconnects the clients, waits until their requests under way have come back, and lets go of the node.
    @GraphActor public func shutDown() async {
        isShuttingDown = true
        disconnectClients()
        await clientLeft.wait(until: { connections.isEmpty })
        guard !isGone else { return }
        isGone = true
        for bitmap in bitmaps { bitmap.isBusy = false }
        onShutDown(self)
        await graph.detach(backend)
    }
}
