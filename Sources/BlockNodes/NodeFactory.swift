import BlockDrivers
import BlockGraph
import IOLoop
import QMPSchema

/// Makes nodes from the options of `blockdev-add`, children defined in them included.
@GraphActor
public struct NodeFactory {
    /// The graph that the nodes go to.
    public let graph: BlockGraph
    /// Finds the throttle group of a name, nil where there is none.
    let throttleGroup: @GraphActor (String) -> ThrottleGroup?
    /// Whether backing images that no option names are opened, as the images' headers say.
    public var opensBackingImages = true
    /// Whether data files that no option names are opened; otherwise there are zeroes in their place, for looking at headers.
    public var opensDataFiles = true
    /// The images above the one that is being opened, where headers name them.
    var chain: Set<ImageIdentity> = []

    /// A factory for a graph.
    ///
    /// - Parameter throttleGroup: finds the throttle group of a name, nil where there is none.
    public init(graph: BlockGraph, throttleGroup: @escaping @GraphActor (String) -> ThrottleGroup? = { _ in nil }) {
        self.graph = graph
        self.throttleGroup = throttleGroup
    }

    /// Opens a node, and with it those of its children that are defined in the options.
    ///
    /// - Parameters:
    ///   - isRoot: whether a client owns the node; others go away with their parent.
    ///   - parent: the options of the node in whose options this one is defined.
    /// Errors, with QEMU's texts: options do not go together; a child does not exist; whatever the driver says. Nothing
    /// stays then.
    public func open(
        _ options: BlockdevOptions, isRoot: Bool, inheriting parent: NodeOptions? = nil
    ) async throws(BlockError) -> BlockNode {
        let nodeOptions = NodeOptions(options, inheriting: parent)
        guard options.active != false else { throw BlockError("Inactive nodes are not supported") }
        // A child called "file" is there before its parent, whatever is wrong with that; others are made with it.
        let file = options.driver.children.first { $0.name == "file" }?.reference
        let fileNode: BlockNode? = if let file { try await child(file, inheriting: nodeOptions) } else { nil }
        do {
            try nodeOptions.check()
            let node = try await graph.open(name: options.nodeName, options: nodeOptions, isOwnedByMonitor: isRoot) {
                (node) async throws(BlockError) in
                try await makeDriver(options.driver, in: node, file: fileNode)
            }
            node.sourceOptions = options
            return node
        } catch {
            if let fileNode { await graph.closeIfUnused(fileNode) }
            throw error
        }
    }

    /// Makes the children but "file", and the driver above them. On an error, children that nobody has taken go away.
    private func makeDriver(
        _ options: BlockdevOptions.Driver, in node: BlockNode, file: BlockNode?
    ) async throws(BlockError) -> any BlockDriver {
        var children: [String: BlockNode] = [:]
        children["file"] = file
        do {
            if case .qcow2(let qcow2) = options {
                return try await makeQcow2(qcow2, in: node, children: &children)
            }
            for (name, reference) in options.children where name != "file" {
                children[name] = try await child(reference, inheriting: node.options)
            }
            return try await makeDriver(try configuration(of: options, node.options), in: node, children: children)
        } catch {
            for child in children.values { await graph.closeIfUnused(child) }
            throw error
        }
    }

    private func makeDriver(
        _ configuration: DriverConfiguration, in node: BlockNode, children: [String: BlockNode]
    ) async throws(BlockError) -> any BlockDriver {
        func child(_ name: String) throws(BlockError) -> BlockNode { try Self.require(name, in: children) }
        return switch configuration {
        case .file(let file): try await FileDriver.open(file, in: node)
        case .null(let null): try NullDriver(null)
        case .qcow2: throw BlockError("A qcow2 image is not opened without its header")
        case .raw(let raw): RawDriver.open(raw, in: node, file: try child("file"))
        case .copyBeforeWrite(let cbw):
            try CopyBeforeWriteDriver.open(cbw, in: node, source: try child("file"), target: try child("target"))
        case .copyOnRead(let bottom):
            try CopyOnReadDriver.open(in: node, file: try child("file"), bottom: bottom)
        case .snapshotAccess: SnapshotAccessDriver.open(in: node, file: try child("file"))
        case .throttle(let throttle): ThrottleDriver.open(throttle, in: node, file: try child("file"))
        case .blkdebug(let blkdebug): try await BlkdebugDriver.open(blkdebug, in: node, image: try child("image"))
        }
    }

    /// The child of a name, which must be there.
    static func require(_ name: String, in children: [String: BlockNode]) throws(BlockError) -> BlockNode {
        guard let child = children[name] else {
            throw BlockError("A block device must be specified for \"\(name)\"")
        }
        return child
    }

    /// The node that a reference names, or the one that it defines.
    func child(
        _ reference: BlockdevRef, inheriting parent: NodeOptions
    ) async throws(BlockError) -> BlockNode {
        switch reference {
        case .reference(let name): try graph.requireNode(named: name)
        case .definition(let options): try await open(options, isRoot: false, inheriting: parent)
        }
    }
}
