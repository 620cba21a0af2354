import Glibc
import IOLoop

/// The nodes of a daemon, and the changes of their graph.
///
/// All changes happen on the `GraphActor`; those that touch edges in use happen in a drained section. A change that awaits
/// is not safe against another one in between: callers let one command follow the other.
@GraphActor
public final class BlockGraph {
    /// The nodes in the order in which their opening began.
    public private(set) var nodes: [BlockNode] = []

    /// The backends in the order in which they were attached.
    public internal(set) var backends: [BlockBackend] = []

    /// The drained sections under way, the innermost last.
    var drainedSections: [DrainedSection] = []

    private var nodesByName: [String: BlockNode] = [:]
    private var generatedNames = 0
    private var creations = 0
    private nonisolated let eventSink: @Sendable (BlockEvent) -> Void

    private nonisolated let complaintSink: @Sendable (String) -> Void

    /// An empty graph that reports its events to `eventSink`, from any thread and in the middle of I/O: it must be quick.
    ///
    /// - Parameter complaintSink: gets lines of text for the person who runs the program; by default on standard error.
    public nonisolated init(
        eventSink: @escaping @Sendable (BlockEvent) -> Void = { _ in },
        complaintSink: @escaping @Sendable (String) -> Void = BlockGraph.writeToStandardError
    ) {
        self.eventSink = eventSink
        self.complaintSink = complaintSink
    }

    /// Tells the person who runs the program of something that no caller will hear of.
    public nonisolated func complain(_ text: String) { complaintSink(text) }

    /// Writes a line to standard error, behind the name of the program.
    public nonisolated static func writeToStandardError(_ text: String) {
        let program = CommandLine.arguments.first.map { String($0.split(separator: "/").last ?? "") } ?? "cairn"
        let line = Array("\(program): \(text)\n".utf8)
        // There is nobody to tell of an error.
        _ = line.withUnsafeBytes { Glibc.write(2, $0.baseAddress, $0.count) }
    }

    /// Passes an event on.
    public nonisolated func report(_ event: BlockEvent) { eventSink(event) }

    /// The node of a name, nil where there is none, or one that is being deleted.
    public func node(named name: String) -> BlockNode? {
        guard let node = nodesByName[name], !node.isBeingDeleted else { return nil }
        return node
    }

    /// The node of a name. Error: "Cannot find device='NAME' nor node-name='NAME'".
    public func requireNode(named name: String) throws(BlockError) -> BlockNode {
        guard let node = node(named: name) else {
            throw BlockError("Cannot find device='\(name)' nor node-name='\(name)'")
        }
        return node
    }

    /// Opens a node: makes it, lets `makeDriver` build the driver and attach the children, takes the permissions, and
    /// starts the driver. On an error nothing of it stays, children that nobody else uses included.
    ///
    /// - Parameters:
    ///   - name: the node's name; nil to make one up.
    ///   - options: the options that all drivers have in common.
    ///   - isOwnedByMonitor: whether the node stays without a parent.
    /// Errors: the name is malformed, too long or taken; whatever the driver says; a permission conflict.
    public func open(
        name: String?, options: NodeOptions, isOwnedByMonitor: Bool = false,
        makeDriver: (BlockNode) async throws(BlockError) -> any BlockDriver
    ) async throws(BlockError) -> BlockNode {
        if let name { try checkName(name) }
        creations += 1
        let number = creations
        let node = BlockNode(
            name: name ?? makeName(), hasGeneratedName: name == nil, options: options, graph: self, number: number)
        do {
            let driver = try await makeDriver(node)
            node.install(driver)
            try refreshPermissions(below: [node])
            try await driver.start(in: node)
            if let name { try checkName(name) }
        } catch {
            await abandon(node)
            throw error
        }
        node.didStart()
        node.isOwnedByMonitor = isOwnedByMonitor
        nodes.insert(node, at: (nodes.lastIndex { $0.number < number } ?? -1) + 1)
        nodesByName[node.name] = node
        return node
    }

    /// Closes all nodes, parents first. Their backends have been detached.
    public func closeAll() async {
        for node in nodes { node.isOwnedByMonitor = false }
        for node in nodes.reversed() { await closeIfUnused(node) }
    }

    /// Closes a node that has neither parent nor owner, and then its children that have none.
    public func closeIfUnused(_ node: BlockNode) async {
        guard node.parents.isEmpty, !node.isOwnedByMonitor, nodesByName[node.name] === node else { return }
        nodesByName[node.name] = nil
        nodes.removeAll { $0 === node }
        // Background work may stand in queues further below.
        let quieted = nodesBelow([node])
        for node in quieted { node.driverIfOpen?.drainBegin() }
        await node.driver.drainFinished()
        for child in quieted.dropFirst() { child.driverIfOpen?.drainEnd() }
        try? await node.flush()  // The node goes away: there is nobody left to tell.
        await abandon(node)
    }

    /// Closes the driver, takes the edges to the children away, and closes those that nobody uses.
    private func abandon(_ node: BlockNode) async {
        await node.driverIfOpen?.close()
        let children = node.children
        for child in children {
            unlink(child)
            child.forgetParent()
        }
        for child in children {
            relaxPermissions(below: [child.node])
            await closeIfUnused(child.node)
        }
    }

    private func checkName(_ name: String) throws(BlockError) {
        guard Self.isWellFormed(name) else { throw BlockError("Invalid node-name: '\(name)'") }
        guard name.utf8.count < 32 else { throw BlockError("Node name too long") }
        guard nodesByName[name] == nil else { throw BlockError("Duplicate nodes with node-name='\(name)'") }
    }

    /// Whether a name is a letter followed by letters, digits, "-", "." or "_".
    public nonisolated static func isWellFormed(_ name: String) -> Bool {
        func isLetter(_ byte: UInt8) -> Bool { (0x41...0x5A).contains(byte & 0xDF) }
        guard let first = name.utf8.first, isLetter(first) else { return false }
        return name.utf8.dropFirst().allSatisfy { byte in
            isLetter(byte) || (0x30...0x39).contains(byte) || "-._".utf8.contains(byte)
        }
    }

    /// A name that no client can give: "#block", a running number, and two digits at random.
    private func makeName() -> String {
        defer { generatedNames += 1 }
        let digits = Int.random(in: 0..<100)
        return "#block\(generatedNames)\(digits < 10 ? "0" : "")\(digits)"
    }
}
