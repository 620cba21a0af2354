import IOLoop
import BlockDrivers
import BlockGraph
import QMPSchema

/// Makes nodes from the options of `blockdev-add`, children defined in them included.
@GraphActor
struct NodeFactory {
    let graph: BlockGraph
    let objects: ObjectRegistry

    /// Opens a node, and with it those of its children that are defined in the options.
    ///
    /// - Parameters:
    ///   - isRoot: whether a client owns the node; others go away with their parent.
    ///   - parent: the options of the node in whose options this one is defined.
    func open(
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

    private func makeDriver(
        _ options: BlockdevOptions.Driver, in node: BlockNode, file fileNode: BlockNode?
    ) async throws(BlockError) -> any BlockDriver {
        func requireFile() throws(BlockError) -> BlockNode {
            guard let fileNode else { throw BlockError("A block device must be specified for \"file\"") }
            return fileNode
        }
        switch options {
        case .file(let file):
            return try await FileDriver.open(FileConfiguration(file, kind: .file, options: node.options), in: node)
        case .hostDevice(let file):
            return try await FileDriver.open(
                FileConfiguration(file, kind: .hostDevice, options: node.options), in: node)
        case .nullCo(let null): return try NullDriver(NullConfiguration(null, kind: .coroutines))
        case .nullAio(let null): return try NullDriver(NullConfiguration(null, kind: .callbacks))
        case .raw(let raw):
            return RawDriver.open(RawConfiguration(raw), in: node, file: try requireFile())
        case .copyBeforeWrite(let cbw):
            let source = try requireFile()
            let target = try await child(cbw.target, inheriting: node.options)
            do {
                let configuration = try copyBeforeWriteConfiguration(cbw)
                return try CopyBeforeWriteDriver.open(configuration, in: node, source: source, target: target)
            } catch {
                await graph.closeIfUnused(target)
                throw error
            }
        case .snapshotAccess: return SnapshotAccessDriver.open(in: node, file: try requireFile())
        case .throttle(let throttle):
            let configuration = try throttleConfiguration(throttle)
            return ThrottleDriver.open(configuration, in: node, file: try requireFile())
        case .blkdebug(let blkdebug):
            let image = try await child(blkdebug.image, inheriting: node.options)
            return try await BlkdebugDriver.open(BlkdebugConfiguration(blkdebug), in: node, image: image)
        }
    }

    /// The node that a reference names, or the one that it defines.
    private func child(
        _ reference: BlockdevRef, inheriting parent: NodeOptions
    ) async throws(BlockError) -> BlockNode {
        switch reference {
        case .reference(let name): try graph.requireNode(named: name)
        case .definition(let options): try await open(options, isRoot: false, inheriting: parent)
        }
    }

    func copyBeforeWriteConfiguration(
        _ options: BlockdevOptionsCbw
    ) throws(BlockError) -> CopyBeforeWriteConfiguration {
        var configuration = CopyBeforeWriteConfiguration()
        if let reference = options.bitmap {
            do {
                configuration.bitmap = try graph.bitmap(named: reference.name, onNode: reference.node).bitmap
            } catch {
                throw BlockError(error)
            }
        }
        configuration.onError = options.onCbwError == .breakSnapshot ? .breakSnapshot : .breakGuestWrite
        configuration.timeout = options.cbwTimeout ?? 0
        let requested = options.minClusterSize ?? 0
        guard let size = Int64(exactly: requested) else {
            throw BlockError(
                "Cannot create block-copy-state: min-cluster-size too large: \(requested) > \(Int64.max)")
        }
        configuration.minimumClusterSize = size
        return configuration
    }

    private func throttleConfiguration(
        _ options: BlockdevOptionsThrottle
    ) throws(BlockError) -> ThrottleNodeConfiguration {
        guard let object = objects.object(options.throttleGroup, as: ThrottleGroupObject.self) else {
            throw BlockError("Throttle group '\(options.throttleGroup)' does not exist")
        }
        return ThrottleNodeConfiguration(group: object.group)
    }
}

extension FileConfiguration {
    /// The configuration that QMP's options say. Errors: the kind of asynchronous I/O does not go with the cache mode.
    init(_ options: BlockdevOptionsFile, kind: Kind, options node: NodeOptions) throws(BlockError) {
        if options.aio == .native, !node.cacheDirect {
            throw BlockError("aio=native was specified, but it requires cache.direct=on, which was not specified.")
        }
        let locking: Locking =
            switch options.locking {
            case nil, .auto: .auto
            case .on: .on
            case .off: .off
            }
        self.init(kind: kind, filename: options.filename, locking: locking)
    }
}

extension NodeFactory {
    /// The options of a driver in the form that it is reopened with.
    func reopenOptions(
        _ options: BlockdevOptions.Driver, _ node: NodeOptions
    ) throws(BlockError) -> any Sendable {
        switch options {
        case .file(let file): try FileConfiguration(file, kind: .file, options: node)
        case .hostDevice(let file): try FileConfiguration(file, kind: .hostDevice, options: node)
        case .nullCo(let null): NullConfiguration(null, kind: .coroutines)
        case .nullAio(let null): NullConfiguration(null, kind: .callbacks)
        case .raw(let raw): RawConfiguration(raw)
        case .copyBeforeWrite(let cbw): try copyBeforeWriteConfiguration(cbw)
        case .throttle(let throttle): try throttleConfiguration(throttle)
        case .snapshotAccess, .blkdebug: options
        }
    }
}

extension NullConfiguration {
    /// The configuration that QMP's options say.
    init(_ options: BlockdevOptionsNull, kind: Kind) {
        self.init(
            kind: kind, size: options.size, latencyNanoseconds: Int64(bitPattern: options.latencyNs ?? 0),
            readZeroes: options.readZeroes)
    }
}

extension RawConfiguration {
    /// The configuration that QMP's options say.
    init(_ options: BlockdevOptionsRaw) { self.init(offset: options.offset, size: options.size) }
}
