import BlockDrivers
import BlockGraph
import BlockNodes
import IOLoop

/// `block-commit` of images that nobody writes to: copies their data to one of their backing images, which takes their place.
///
/// Guests read through the images until the last step, and see the same at all times: where data have been copied, the images
/// still have them. The headers and the graph change in the last step.
@GraphActor
public final class CommitJob: JobBody {
    /// What a client asks for.
    public struct Options: Sendable {
        /// The name that headers are to give the new backing image; nil for the image's own.
        public var backingFile: String?
        /// Whether headers say `raw` where a protocol is the format.
        public var masksProtocol = false
        /// What is done about errors.
        public var onError = JobErrorPolicy.report
        /// The name of the filter; nil to make one up.
        public var filterName: String?

        /// The usual ones.
        public init() {}
    }

    /// The most zeroes that are written at a time, in bytes.
    private nonisolated static let zeroesSize: Int64 = 64 << 20

    private let options: Options
    private let device: BlockNode
    private let top: BlockNode
    private let base: BlockNode
    private let factory: NodeFactory
    private var access: WriteAccess?
    private var filter: BlockNode?
    private var frozen: FrozenChain?
    private var source: BlockBackend?
    private var target: BlockBackend?
    private var job: Job?

    private var graph: BlockGraph { top.graph }

    private init(_ options: Options, device: BlockNode, top: BlockNode, base: BlockNode, factory: NodeFactory) {
        self.options = options
        self.device = device
        self.top = top
        self.base = base
        self.factory = factory
    }

    /// Puts the filter in place, makes the base writable and long enough, and makes the job, which is to be started.
    ///
    /// - Parameters:
    ///   - device: the node at the top of the chain.
    ///   - top: the uppermost node whose data are copied; not the one that the guest writes to.
    ///   - base: the node that takes the data, below `top` in the chain.
    /// Errors: the filter's or the job's name is no good; the base cannot be written, or not made longer; others use the nodes.
    /// Nothing stays then, but that the base may be longer.
    public static func create(
        _ job: Job.Options, _ options: Options, device: BlockNode, top: BlockNode, base: BlockNode, in list: JobList,
        factory: NodeFactory
    ) async throws(BlockError) -> Job {
        let body = CommitJob(options, device: device, top: top, base: base, factory: factory)
        let job = try list.create(job, body: body)
        do {
            try await body.prepareNodes(job)
        } catch {
            await body.clean()
            await list.discard(job)
            throw error
        }
        return job
    }

    private func prepareNodes(_ job: Job) async throws(BlockError) {
        self.job = job
        access = try await factory.makeWritable(base)
        var nodeOptions = NodeOptions()
        nodeOptions.isReadOnly = true
        let top = top
        let filter = try await graph.open(name: options.filterName, options: nodeOptions) {
            (node) throws(BlockError) in CommitTopDriver.open(in: node, image: top)
        }
        do {
            try await graph.replace(top, by: filter)
        } catch {
            await graph.closeIfUnused(filter)
            throw error
        }
        self.filter = filter
        try useNodes(of: job, filter)
        try await makeRoom()
    }

    private func useNodes(of job: Job, _ filter: BlockNode) throws(BlockError) {
        try job.nodes.add(device, as: "main node")
        let baseImage = base.belowFilters
        for node in top.chain(above: base) {
            // What filters of the base show changes as the base does.
            let isFilterOfBase = node.belowFilters === baseImage
            try job.nodes.add(
                node, as: "intermediate node",
                permissions: PermissionPair(
                    shared: isFilterOfBase ? [.consistentRead, .write, .writeUnchanged] : [.write, .writeUnchanged]))
        }
        try job.nodes.add(base, as: "base")
        var used: BlockPermissions = [.consistentRead, .write]
        if base.length < top.length { used.insert(.resize) }
        target = try graph.attach(
            "an unnamed block device", to: base,
            permissions: PermissionPair(used: used, shared: [.consistentRead, .writeUnchanged]))
        source = try graph.attach("an unnamed block device", to: top, permissions: PermissionPair())
        frozen = try graph.freeze(from: filter, to: base)
    }

    /// Makes the base as long as the top.
    private func makeRoom() async throws(BlockError) {
        guard base.length < top.length else { return }
        try await graph.drained([base]) { () async throws(BlockError) in
            try await base.resize(to: top.length, exact: false)
        }
    }

    // MARK: Work

    public func run(_ job: Job) async throws(BlockError) {
        guard let source, let target else { return }
        let (top, base) = (top, base)
        let length = top.length
        job.setRemaining(length)
        let copy = OrderedCopy(
            job, length: length, policy: options.onError, failures: .retried,
            scan: { (range) async throws(Errno) in
                let run = try await source.perform { () async throws(Errno) in
                    try await top.layerRun(range, above: base)
                }
                return OrderedCopy.Run(length: run.length, isCopied: run.place != .nowhere, isZero: run.isZero)
            },
            copy: { (range, isZero) async throws(CopyUpError) in
                if isZero { return try await Self.zero(range, target) }
                try await Self.copy(range, from: source, to: target)
            })
        try await copy.run()
        if !job.isCancelled { try await hideRest(job, target) }
    }

    private nonisolated static func copy(
        _ range: ByteRange, from source: BlockBackend, to target: BlockBackend
    ) async throws(CopyUpError) {
        let buffer = BufferPool.shared.take(count: Int(range.length))
        defer { BufferPool.shared.give(buffer) }
        do {
            try await source.read(range, into: buffer)
        } catch {
            throw CopyUpError(errno: error, isRead: true)
        }
        if buffer.isZero { return try await zero(range, target) }
        do {
            try await target.write(range, from: buffer)
        } catch {
            throw CopyUpError(errno: error, isRead: false)
        }
    }

    private nonisolated static func zero(_ range: ByteRange, _ target: BlockBackend) async throws(CopyUpError) {
        do {
            try await target.writeZeroes(range, flags: .mayUnmap)
        } catch {
            throw CopyUpError(errno: error, isRead: false)
        }
    }

    /// What lies in the base behind the end of a shorter image above it does not show through to a longer overlay; it must not do
    /// so either when the base takes the image's place.
    private func hideRest(_ job: Job, _ target: BlockBackend) async throws(BlockError) {
        let start = top.length
        let end = min(base.length, overlays.map(\.length).max() ?? 0)
        guard start < end else { return }
        let copy = OrderedCopy(
            job, length: end - start, policy: options.onError, failures: .retried, countsProgress: false,
            scan: { (range) async throws(Errno) in
                OrderedCopy.Run(length: range.length, isCopied: true, isZero: true)
            },
            copy: { (range, _) async throws(CopyUpError) in
                try await Self.zero(range.lowerBound + start..<range.upperBound + start, target)
            })
        try await copy.run()
    }

    /// The images whose backing image is the filter, maybe by way of other filters.
    private var overlays: [BlockNode] {
        var overlays: [BlockNode] = []
        func visit(_ node: BlockNode) {
            for edge in node.parents {
                guard case .node(let parent) = edge.parent else { continue }
                if edge.role.contains(.copyOnWrite) {
                    overlays.append(parent)
                } else if parent.chainLink === edge {
                    visit(parent)
                }
            }
        }
        if let filter { visit(filter) }
        return overlays
    }

    // MARK: The end

    /// Puts the base in the place of the images above it, and has the headers say so.
    public func prepare() async throws(BlockError) {
        guard let filter, let target else { return }
        do {
            try await target.flush()
        } catch {
            throw BlockError("\(error)", errno: error)
        }
        frozen?.thaw()
        var changed: [BlockNode] = []
        do {
            for overlay in overlays {
                try await factory.writeBacking(
                    of: overlay, to: base.belowFilters, name: options.backingFile,
                    maskingProtocol: options.masksProtocol)
                changed.append(overlay)
            }
            try graph.setPermissions(PermissionPair(), of: target)
            try await graph.replace(filter, by: base)
        } catch {
            for overlay in changed {
                try? await factory.writeBacking(
                    of: overlay, to: top.belowFilters, name: nil, maskingProtocol: options.masksProtocol)
            }
            throw error
        }
    }

    /// Takes the filter out, and lets go of the nodes.
    public func clean() async {
        frozen?.thaw()
        for backend in [source, target].compactMap({ $0 }) { graph.release(backend) }
        (source, target) = (nil, nil)
        await job?.nodes.release()
        do {
            if let filter {
                try await graph.replace(filter, by: top)
                await graph.closeIfUnused(filter)
            }
            await graph.closeIfUnused(top)
            if let access { try await factory.takeBack(access) }
        } catch {
            graph.complain("block-commit: the former state could not be restored: \(error.description)")
        }
        (filter, access, job) = (nil, nil, nil)
    }
}
