import BlockDrivers
import BlockGraph
import BlockNodes
import IOLoop

/// `block-stream`: copies what backing images have into the image above them, which does without them then.
///
/// A copy-on-read filter above the image does the copying, so that nothing is lost that is written meanwhile, and so that what
/// guests read need not be read again. The header and the graph change in the last step; until then the chain is as it was.
@GraphActor
public final class StreamJob: JobBody {
    /// What a client asks for.
    public struct Options: Sendable {
        /// The name that the header is to give the new backing image; nil for the image's own.
        public var backingFile: String?
        /// Whether the header says `raw` where a protocol is the format.
        public var masksProtocol = false
        /// What is done about errors.
        public var onError = JobErrorPolicy.report
        /// The name of the filter; nil to make one up.
        public var filterName: String?

        /// The usual ones.
        public init() {}
    }

    /// Where data come from and go to.
    public struct Chain: Sendable {
        /// The node that the client named; a filter above the image, or the image.
        let device: BlockNode
        /// The image that the data go to.
        let image: BlockNode
        /// The lowest image whose data are copied.
        let bottom: BlockNode
        /// The last node above what stays below the image.
        let aboveBase: BlockNode

        /// All nodes but what stays below.
        @GraphActor public var nodes: [BlockNode] {
            let chain = device.backingChain
            return Array(chain.prefix((chain.firstIndex { $0 === aboveBase } ?? 0) + 1))
        }

        /// The chain down to `base`, which stays; nil for none.
        @GraphActor public init(from device: BlockNode, above base: BlockNode?) {
            let nodes = device.chain(above: base)
            self.device = device
            image = device.belowFilters
            bottom = nodes.last { !$0.isFilter } ?? image
            aboveBase = nodes.last ?? device
        }

        /// The chain down to `bottom`.
        @GraphActor public init(from device: BlockNode, downTo bottom: BlockNode) {
            self.device = device
            image = device.belowFilters
            self.bottom = bottom
            aboveBase = bottom
        }
    }

    private let options: Options
    private let chain: Chain
    private let factory: NodeFactory
    private let access: WriteAccess
    private let filter: BlockNode
    private var frozen: FrozenChain?
    private var user: BlockBackend?
    private var job: Job?

    private var graph: BlockGraph { filter.graph }

    private init(
        _ options: Options, _ chain: Chain, factory: NodeFactory, access: WriteAccess, filter: BlockNode
    ) {
        self.options = options
        self.chain = chain
        self.factory = factory
        self.access = access
        self.filter = filter
    }

    /// Puts the filter in place, and makes the job, which is to be started.
    ///
    /// Errors: the image cannot be written; the filter's or the job's name is no good; others use the nodes. Nothing stays then.
    public static func create(
        _ job: Job.Options, _ options: Options, _ chain: Chain, in list: JobList, factory: NodeFactory
    ) async throws(BlockError) -> Job {
        let access = try await factory.makeWritable(chain.device.isFilter ? chain.image : chain.device)
        let body: StreamJob
        do {
            body = try await insertFilter(options, chain, factory: factory, access: access)
        } catch {
            try? await factory.takeBack(access)
            throw BlockError("Could not create node: \(error.description)", errno: error.errno)
        }
        do throws(BlockError) {
            let job = try list.create(job, body: body)
            do throws(BlockError) {
                try body.useNodes(of: job)
            } catch {
                await list.discard(job)
                throw error
            }
            return job
        } catch {
            await body.clean()
            throw error
        }
    }

    private static func insertFilter(
        _ options: Options, _ chain: Chain, factory: NodeFactory, access: WriteAccess
    ) async throws(BlockError) -> StreamJob {
        let graph = factory.graph
        var nodeOptions = NodeOptions()
        // What becomes of discards is for the image to say.
        nodeOptions.discard = .unmap
        nodeOptions.cacheDirect = chain.device.options.cacheDirect
        nodeOptions.cacheNoFlush = chain.device.options.cacheNoFlush
        let filter = try await graph.open(name: options.filterName, options: nodeOptions) {
            (node) throws(BlockError) in
            try CopyOnReadDriver.open(in: node, file: chain.device, bottom: chain.bottom)
        }
        do {
            try await graph.replace(chain.device, by: filter)
        } catch {
            await graph.closeIfUnused(filter)
            throw error
        }
        return StreamJob(options, chain, factory: factory, access: access, filter: filter)
    }

    private func useNodes(of job: Job) throws(BlockError) {
        self.job = job
        let unresized: BlockPermissions = [.consistentRead, .write, .writeUnchanged]
        try job.nodes.add(filter, as: "main node")
        try job.nodes.add(chain.device, as: "active node", permissions: PermissionPair(shared: unresized))
        for node in chain.nodes.dropFirst() {
            try job.nodes.add(
                node, as: "intermediate node",
                permissions: PermissionPair(shared: [.consistentRead, .writeUnchanged]))
        }
        user = try graph.attach(
            "an unnamed block device", to: filter,
            permissions: PermissionPair(used: .consistentRead, shared: unresized))
        frozen = try graph.freeze(from: filter, to: chain.aboveBase)
    }

    // MARK: Work

    public func run(_ job: Job) async throws(BlockError) {
        guard chain.image !== chain.bottom, let user, let driver = filter.driver as? CopyOnReadDriver else { return }
        let image = chain.image
        let length = filter.length
        job.setRemaining(length)
        let copy = OrderedCopy(
            job, length: length, policy: options.onError, failures: .fatal,
            scan: { (range) async throws(Errno) in
                let run = try await user.perform { () async throws(Errno) in
                    try await image.layerRun(range, above: driver.base)
                }
                return OrderedCopy.Run(length: run.length, isCopied: run.place == .below, isZero: run.isZero)
            },
            copy: { (range, _) async throws(CopyUpError) in try await Self.copy(range, driver, user) })
        try await copy.run()
    }

    private nonisolated static func copy(
        _ range: ByteRange, _ driver: CopyOnReadDriver, _ user: BlockBackend
    ) async throws(CopyUpError) {
        var failure: CopyUpError?
        do {
            try await user.perform { () async throws(Errno) in
                do throws(CopyUpError) {
                    try await driver.copy(range)
                } catch {
                    failure = error
                }
            }
        } catch {
            failure = CopyUpError(errno: error, isRead: true)
        }
        // Clients hear of all errors as those of reading through the filter.
        if let failure { throw CopyUpError(errno: failure.errno, isRead: true) }
    }

    // MARK: The end

    /// Gives the image its new backing image: what is below the last node of the chain now.
    public func prepare() async throws(BlockError) {
        thaw()
        guard chain.image.driver.backingChild != nil else { return }
        let base = chain.aboveBase.chainLink?.node
        let former = chain.image.driver.backingChild?.node
        try await factory.writeBacking(
            of: chain.image, to: base?.belowFilters, name: options.backingFile, maskingProtocol: options.masksProtocol)
        do {
            try await graph.setBacking(of: chain.image, to: base)
        } catch {
            try? await factory.writeBacking(
                of: chain.image, to: former?.belowFilters, name: nil, maskingProtocol: options.masksProtocol)
            throw error
        }
        released = former
    }

    /// The former backing image, which somebody may have to close.
    private var released: BlockNode?

    /// Takes the filter out.
    public func clean() async {
        thaw()
        if let user { graph.release(user) }
        user = nil
        await job?.nodes.release()
        do {
            try await graph.replace(filter, by: chain.device)
            await graph.closeIfUnused(filter)
            if let released { await graph.closeIfUnused(released) }
            try await factory.takeBack(access)
        } catch {
            graph.complain("block-stream: the filter '\(filter.name)' could not be taken away: \(error.description)")
        }
        job = nil
    }

    private func thaw() {
        frozen?.thaw()
        frozen = nil
        (filter.driver as? CopyOnReadDriver)?.thaw()
    }
}
