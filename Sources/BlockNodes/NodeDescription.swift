import IOLoop
import BlockDrivers
import BlockGraph
import JSON
import QMPSchema

/// What queries tell of a node.
@GraphActor
public struct NodeDescription {
    /// The node.
    public let node: BlockNode

    /// The description of a node.
    public init(_ node: BlockNode) { self.node = node }

    /// The name of the image: a file's, or the options in the form "json:{...}".
    public var filename: String { node.driver.filename(of: node) }

    /// What `query-named-block-nodes` tells of the node.
    ///
    /// - Parameter flat: whether to leave the images below a filter or overlay out.
    public func deviceInfo(flat: Bool) async -> BlockDeviceInfo {
        let options = node.options
        let bitmaps = node.bitmaps.infos
        return BlockDeviceInfo(
            file: filename, nodeName: node.name, ro: node.isReadOnly, drv: node.driver.formatName,
            backingFile: node.driver.backingChild.map { NodeDescription($0.node).filename },
            backingFileDepth: flat ? 0 : backingDepth,
            children: node.children.reversed().map { BlockdevChild(child: $0.name, nodeName: $0.node.name) },
            active: true, encrypted: false, detectZeroes: detectZeroes,
            bps: 0, bpsRd: 0, bpsWr: 0, iops: 0, iopsRd: 0, iopsWr: 0,
            image: await imageInfo(flat: flat),
            cache: BlockdevCacheInfo(writeback: true, direct: options.cacheDirect, noFlush: options.cacheNoFlush),
            writeThreshold: node.statistics.writeThreshold,
            dirtyBitmaps: bitmaps.isEmpty ? nil : bitmaps.map(BlockDirtyInfo.init))
    }

    /// The next layer.
    private var below: BlockChild? {
        node.driver.driverName == "raw" ? nil : (node.driver.filteredChild ?? node.driver.backingChild)
    }

    /// The number of layers below the node, filters included.
    private var backingDepth: Int64 {
        var depth: Int64 = 0
        var current = node
        while current.driver.driverName != "raw",
            let next = current.driver.filteredChild ?? current.driver.backingChild
        {
            depth += 1
            current = next.node
        }
        return depth
    }

    private var detectZeroes: BlockdevDetectZeroesOptions {
        switch node.options.detectZeroes {
        case .off: .off
        case .on: .on
        case .unmap: .unmap
        }
    }

    /// What queries tell of the image that the node shows, and of the chain below it.
    ///
    /// - Parameter flat: whether to leave the images below a filter or overlay out.
    public func imageInfo(flat: Bool) async -> ImageInfo {
        await imageInfo(below: flat ? nil : below?.node)
    }

    private func imageInfo(below: BlockNode?) async -> ImageInfo {
        var info = ImageInfo(
            filename: filename, format: node.driver.formatName, actualSize: await node.driver.allocatedSize(),
            virtualSize: node.length, limits: limits)
        info.dirtyFlag = storesFile ? false : nil
        info.clusterSize = node.driver.clusterSize
        let snapshots = (try? node.driver.snapshotStore?.list()) ?? []
        if !snapshots.isEmpty { info.snapshots = snapshots.map(SnapshotInfo.init) }
        switch node.driver {
        case is FileDriver:
            info.formatSpecific = ImageInfoSpecific(type: .file(ImageInfoSpecificFileWrapper(data: .init())))
        case let qcow2 as Qcow2Driver: describe(qcow2, in: &info)
        default: break
        }
        if let below {
            info.backingImage = await NodeDescription(below).deviceInfo(flat: false).image
        }
        return info
    }

    /// Whether the data end up in a file, which may be dirty or not.
    private var storesFile: Bool {
        node.driver is FileDriver
            || !(node.driver is SnapshotAccessDriver)
                && (node.children.first.map { NodeDescription($0.node).storesFile } ?? false)
    }

    /// Whether a file is at the bottom of the node; what is not in a file is said to be aligned to sectors.
    private var hasFile: Bool {
        if node.children.isEmpty { return node.driver is FileDriver }
        return node.children.allSatisfy { NodeDescription($0.node).hasFile }
    }

    /// The limits of requests as QMP tells them.
    private var limits: BlockLimitsInfo {
        let limits = node.driver.limits
        func unlessDefault(_ value: Int64, _ standard: Int64) -> UInt64? { value == standard ? nil : UInt64(value) }
        let standard = BlockLimits()
        return BlockLimitsInfo(
            requestAlignment: UInt32(clamping: limits.requestAlignment),
            maxDiscard: unlessDefault(limits.maximumDiscard, standard.maximumDiscard),
            discardAlignment: unlessDefault(limits.discardAlignment, standard.discardAlignment).map(
                UInt32.init(clamping:)),
            maxWriteZeroes: unlessDefault(limits.maximumWriteZeroes, standard.maximumWriteZeroes),
            writeZeroesAlignment: unlessDefault(limits.writeZeroesAlignment, standard.writeZeroesAlignment)
                .map(UInt32.init(clamping:)),
            maxTransfer: unlessDefault(limits.maximumTransfer, standard.maximumTransfer).map(UInt32.init(clamping:)),
            maxIov: 1024,
            minMemAlignment: hasFile && !(node.driver is CommitTopDriver) ? UInt64(limits.memoryAlignment) : 512,
            optMemAlignment: UInt64(max(4096, limits.memoryAlignment)))
    }
}
