import BlockGraph
import IOLoop

/// A driver with children that passes everything on to its first child: a filter, or a format that stores one to one.
public final class PassingDriver: BlockDriver {
    /// The edges.
    public let edges: [BlockChild]
    private let isFilter: Bool
    private let startError: BlockError?
    private let closings: Counter
    private let reopening: @GraphActor @Sendable (ReopenRequest) async throws(BlockError) -> ReopenAction

    /// A driver over edges that were attached.
    public init(
        _ edges: [BlockChild], isFilter: Bool, startError: BlockError? = nil, closings: Counter = Counter(),
        reopening: @escaping @GraphActor @Sendable (ReopenRequest) async throws(BlockError) -> ReopenAction = { _ in
            ReopenAction()
        }
    ) {
        self.edges = edges
        self.isFilter = isFilter
        self.startError = startError
        self.closings = closings
        self.reopening = reopening
    }

    private var file: BlockChild { edges[0] }

    public var driverName: String { "passing" }
    public var length: Int64 { file.node.length }
    public var limits: BlockLimits { file.node.driver.limits }
    public var supportedWriteFlags: WriteFlags { [.forceUnitAccess, .unchanged] }
    public var supportedZeroFlags: WriteFlags { [.forceUnitAccess, .mayUnmap, .noFallback] }
    public var filteredChild: BlockChild? { isFilter ? file : nil }
    public var backingChild: BlockChild? { edges.first { $0.role.contains(.copyOnWrite) } }

    public func read(_ range: ByteRange, into buffer: IOBuffer) async throws(Errno) {
        try await file.node.read(range, into: buffer)
    }

    public func write(_ range: ByteRange, from buffer: IOBuffer, flags: WriteFlags) async throws(Errno) {
        try await file.node.write(range, from: buffer, flags: flags)
    }

    public func writeZeroes(_ range: ByteRange, flags: WriteFlags) async throws(Errno) {
        try await file.node.writeZeroes(range, flags: flags)
    }

    public func discard(_ range: ByteRange) async throws(Errno) { try await file.node.discard(range) }
    public func flush() async throws(Errno) { try await file.node.flush() }

    public func blockStatus(_ range: ByteRange, precision: BlockStatusPrecision) async throws(Errno) -> BlockStatus {
        BlockStatus(
            length: range.length, isData: true, isAllocated: true, hostOffset: range.lowerBound, file: file.node,
            asksFile: true)
    }

    @GraphActor public func start(in node: BlockNode) async throws(BlockError) {
        if let startError { throw startError }
    }

    @GraphActor public func filename(of node: BlockNode) -> String { "passing" }
    @GraphActor public func close() async { closings.add() }
    @GraphActor public func prepareReopen(_ request: ReopenRequest) async throws(BlockError) -> ReopenAction {
        try await reopening(request)
    }
}

extension BlockGraph {
    /// Opens a passing driver as a filter over a node.
    public func openPassing(
        _ name: String?, over child: BlockNode, options: NodeOptions = NodeOptions(), isOwnedByMonitor: Bool = false,
        startError: BlockError? = nil, closings: Counter = Counter()
    ) async throws(BlockError) -> BlockNode {
        try await open(name: name, options: options, isOwnedByMonitor: isOwnedByMonitor) { node in
            let edge = attach(child, to: node, as: "file", role: [.filtered, .primary])
            return PassingDriver([edge], isFilter: true, startError: startError, closings: closings)
        }
    }

    /// Opens a passing driver as a format: `file` for data and metadata, and perhaps a backing file.
    public func openFormat(
        _ name: String?, over child: BlockNode, backing: BlockNode? = nil, options: NodeOptions = NodeOptions(),
        isOwnedByMonitor: Bool = false
    ) async throws(BlockError) -> BlockNode {
        try await open(name: name, options: options, isOwnedByMonitor: isOwnedByMonitor) { node in
            var edges = [attach(child, to: node, as: "file", role: [.data, .metadata, .primary])]
            if let backing { edges.append(attach(backing, to: node, as: "backing", role: .copyOnWrite)) }
            return PassingDriver(edges, isFilter: false)
        }
    }

    /// The graph in words, to see whether a failed change left everything as it was.
    public var picture: [String] {
        nodes.map { node in
            let children = node.children.map { "\($0.name)=\($0.node.name) \($0.permissions)" }
            let parents = node.parents.map { "\($0.parent.description) \($0.permissions)" }
            return "\(node.name) \(node.permissions) \(node.options) children \(children) parents \(parents)"
        }
    }
}
