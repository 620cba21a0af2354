import BlockDrivers
import BlockGraph
import IOLoop
import QMPSchema

/// The options of a driver in the driver's own terms.
enum DriverConfiguration {
    case file(FileConfiguration)
    case null(NullConfiguration)
    case qcow2(Qcow2Configuration)
    case raw(RawConfiguration)
    case copyBeforeWrite(CopyBeforeWriteConfiguration)
    case copyOnRead(bottom: BlockNode?)
    case snapshotAccess
    case throttle(ThrottleNodeConfiguration)
    case blkdebug(BlkdebugConfiguration)

    /// What the driver is reopened with.
    var forReopening: any Sendable {
        switch self {
        case .file(let configuration): configuration
        case .null(let configuration): configuration
        case .qcow2(let configuration): configuration
        case .raw(let configuration): configuration
        case .copyBeforeWrite(let configuration): configuration
        case .throttle(let configuration): configuration
        case .blkdebug(let configuration): configuration
        case .copyOnRead, .snapshotAccess: ()
        }
    }
}

extension NodeFactory {
    /// The configuration that QMP's options say.
    ///
    /// Errors: a bitmap, node or throttle group that is named does not exist; options do not go together.
    func configuration(
        of options: BlockdevOptions.Driver, _ node: NodeOptions
    ) throws(BlockError) -> DriverConfiguration {
        switch options {
        case .file(let file): .file(try FileConfiguration(file, kind: .file, options: node))
        case .hostDevice(let file): .file(try FileConfiguration(file, kind: .hostDevice, options: node))
        case .nullCo(let null): .null(NullConfiguration(null, kind: .coroutines))
        case .nullAio(let null): .null(NullConfiguration(null, kind: .callbacks))
        case .qcow2(let qcow2): .qcow2(Qcow2Configuration(qcow2))
        case .raw(let raw): .raw(RawConfiguration(raw))
        case .copyBeforeWrite(let cbw): .copyBeforeWrite(try CopyBeforeWriteConfiguration(cbw, in: graph))
        case .copyOnRead(let cor): .copyOnRead(bottom: try bottom(of: cor))
        case .snapshotAccess: .snapshotAccess
        case .throttle(let throttle): .throttle(try throttleConfiguration(throttle))
        case .blkdebug(let blkdebug): .blkdebug(BlkdebugConfiguration(blkdebug))
        }
    }

    private func bottom(of options: BlockdevOptionsCor) throws(BlockError) -> BlockNode? {
        guard let name = options.bottom else { return nil }
        guard let node = graph.node(named: name) else { throw BlockError("Bottom node '\(name)' not found") }
        return node
    }

    private func throttleConfiguration(
        _ options: BlockdevOptionsThrottle
    ) throws(BlockError) -> ThrottleNodeConfiguration {
        guard let group = throttleGroup(options.throttleGroup) else {
            throw BlockError("Throttle group '\(options.throttleGroup)' does not exist")
        }
        return ThrottleNodeConfiguration(group: group)
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

extension CopyBeforeWriteConfiguration {
    /// The configuration that QMP's options say. Errors: there is no such bitmap; the cluster size is beyond 2^63 - 1.
    @GraphActor
    init(_ options: BlockdevOptionsCbw, in graph: BlockGraph) throws(BlockError) {
        self.init()
        if let reference = options.bitmap {
            do {
                bitmap = try graph.bitmap(named: reference.name, onNode: reference.node).bitmap
            } catch {
                throw BlockError(error)
            }
        }
        onError = options.onCbwError == .breakSnapshot ? .breakSnapshot : .breakGuestWrite
        timeout = options.cbwTimeout ?? 0
        let requested = options.minClusterSize ?? 0
        guard let size = Int64(exactly: requested) else {
            throw BlockError(
                "Cannot create block-copy-state: min-cluster-size too large: \(requested) > \(Int64.max)")
        }
        minimumClusterSize = size
    }
}
