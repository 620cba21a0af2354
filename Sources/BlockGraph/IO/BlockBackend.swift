import IOLoop
import Synchronization

/// A user of a node from outside of the graph: an export, a job, a command. All I/O enters the graph through one.
///
/// Requests may come from any I/O loop, many at a time. While the node is in a drained section they wait at the gate.
/// Offsets and lengths are checked here: EIO where a request passes the end of the node.
public final class BlockBackend: Sendable {
    /// The user in messages: "block device 'x'", ...
    public let description: String
    /// The graph of the node.
    public let graph: BlockGraph
    /// The job or the like that the backend belongs to; nil where it stands for itself.
    public let holder: (any BackendHolder)?
    /// Whether every write is made durable before it returns. Set before the first request.
    public var isWriteThrough: Bool {
        get { writeThrough.load(ordering: .relaxed) }
        set { writeThrough.store(newValue, ordering: .relaxed) }
    }

    let gate = RequestGate()
    private let writeThrough = Atomic<Bool>(false)
    private let knownLength = Atomic<Int64>(0)

    /// Whether the user is about to go away, so that it does not keep its node from being deleted.
    @GraphActor public var isLeaving = false

    /// Set on the `GraphActor` before the first request and taken away after the last.
    private nonisolated(unsafe) var attachedEdge: BlockChild?

    init(description: String, graph: BlockGraph, holder: (any BackendHolder)? = nil) {
        self.description = description
        self.graph = graph
        self.holder = holder
    }

    var edge: BlockChild? { attachedEdge }

    @GraphActor func attach(_ edge: BlockChild) {
        attachedEdge = edge
        knownLength.store(edge.node.length, ordering: .relaxed)
    }
    @GraphActor func detach() { attachedEdge = nil }

    /// The node. Constant but for drained sections: to be used on the `GraphActor`, or while nothing is reopened. The
    /// backend must not have been detached.
    public var node: BlockNode {
        guard let attachedEdge else { preconditionFailure("\(description) is used after it was detached") }
        return attachedEdge.node
    }

    /// What the user calls the node.
    @GraphActor public var edgeName: String { edge?.name ?? "" }

    /// The permissions that the user has.
    @GraphActor public var permissions: PermissionPair { edge?.permissions ?? PermissionPair() }

    /// The length of the node in bytes. From any thread: in a drained section others see the length from before it.
    public var length: Int64 {
        if IOLoop.main.isCurrent { return node.length }
        guard gate.tryEnter() else { return knownLength.load(ordering: .relaxed) }
        defer { gate.leave() }
        let length = node.length
        knownLength.store(length, ordering: .relaxed)
        return length
    }

    /// The number of requests under way.
    public var requestsInFlight: Int { gate.countInside }

    /// Reads the range into the buffer. EIO: the range passes the end of the node.
    public func read(_ range: ByteRange, into buffer: IOBuffer) async throws(Errno) {
        await gate.enter()
        defer { gate.leave() }
        let node = node
        try check(range, of: node)
        try await node.read(range, into: buffer)
    }

    /// Writes the buffer to the range. EIO: the range passes the end of the node.
    public func write(_ range: ByteRange, from buffer: IOBuffer, flags: WriteFlags = []) async throws(Errno) {
        await gate.enter()
        defer { gate.leave() }
        let node = node
        try check(range, of: node)
        try await node.write(range, from: buffer, flags: completed(flags))
    }

    /// Makes the range read as zeroes. EIO: the range passes the end of the node.
    public func writeZeroes(_ range: ByteRange, flags: WriteFlags = []) async throws(Errno) {
        await gate.enter()
        defer { gate.leave() }
        let node = node
        try check(range, of: node)
        try await node.writeZeroes(range, flags: completed(flags))
    }

    /// Tells that the range is no longer needed. EIO: the range passes the end of the node.
    public func discard(_ range: ByteRange) async throws(Errno) {
        await gate.enter()
        defer { gate.leave() }
        let node = node
        try check(range, of: node)
        try await node.discard(range)
    }

    /// Makes durable what has been written by requests that have returned.
    public func flush() async throws(Errno) {
        await gate.enter()
        defer { gate.leave() }
        try await node.flush()
    }

    /// The status of a run from the start of the range through all layers, and which layer has it; see `BlockNode`.
    public func blockStatusAbove(
        base: BlockNode? = nil, _ range: ByteRange, precision: BlockStatusPrecision = .zeroes
    ) async throws(Errno) -> (status: BlockStatus, depth: Int) {
        await gate.enter()
        defer { gate.leave() }
        return try await node.blockStatusAbove(base: base, range, precision: precision)
    }

    /// Does work on the nodes below that is not one request to this node, as a job does: it counts as one, so that drained
    /// sections wait for it, and it waits for them.
    public func perform<Result, Failure: Error>(
        _ body: () async throws(Failure) -> Result
    ) async throws(Failure) -> Result {
        await gate.enter()
        defer { gate.leave() }
        return try await body()
    }

    private func completed(_ flags: WriteFlags) -> WriteFlags {
        isWriteThrough ? flags.union(.forceUnitAccess) : flags
    }

    private func check(_ range: ByteRange, of node: BlockNode) throws(Errno) {
        guard range.lowerBound >= 0, range.upperBound <= node.length else { throw .EIO }
    }
}
