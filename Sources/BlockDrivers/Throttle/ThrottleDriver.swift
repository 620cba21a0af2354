import BlockGraph
import IOLoop
import JSON

/// The options of `throttle`: the group, looked up by its name.
public struct ThrottleNodeConfiguration: Sendable {
    /// The group that the node is in.
    public var group: ThrottleGroup

    /// A configuration with its parts.
    public init(group: ThrottleGroup) { self.group = group }
}

/// The filter that makes requests wait until its throttle group lets them pass.
public final class ThrottleDriver: BlockDriver {
    /// The disk below.
    public let file: BlockChild
    public let limits = BlockLimits()

    /// Changes in drained sections, when no I/O reads it.
    private nonisolated(unsafe) var member: ThrottleMember
    @GraphActor private var drainDepth = 0

    private init(file: BlockChild, member: ThrottleMember) {
        self.file = file
        self.member = member
    }

    /// Opens the filter in a node above `file`.
    @GraphActor
    public static func open(
        _ configuration: ThrottleNodeConfiguration, in node: BlockNode, file: BlockNode
    ) -> ThrottleDriver {
        let edge = node.graph.attach(file, to: node, as: "file", role: [.filtered, .primary])
        return ThrottleDriver(file: edge, member: configuration.group.join())
    }

    /// The group that the node is in. Constant but for drained sections.
    public var group: ThrottleGroup { member.group }

    public var driverName: String { "throttle" }
    public var length: Int64 { file.node.length }
    public var filteredChild: BlockChild? { file }
    public var supportedWriteFlags: WriteFlags { [.forceUnitAccess, .unchanged] }
    public var supportedZeroFlags: WriteFlags { [.forceUnitAccess, .mayUnmap, .noFallback, .leavingHoles, .unchanged] }

    // MARK: I/O

    private func pass(_ direction: ThrottleDirection, _ range: ByteRange) async {
        let member = member
        await member.group.pass(member, direction, bytes: range.length)
    }

    public func read(_ range: ByteRange, into buffer: IOBuffer) async throws(Errno) {
        await pass(.read, range)
        try await file.node.read(range, into: buffer)
    }

    public func write(_ range: ByteRange, from buffer: IOBuffer, flags: WriteFlags) async throws(Errno) {
        await pass(.write, range)
        try await file.node.write(range, from: buffer, flags: flags)
    }

    public func writeZeroes(_ range: ByteRange, flags: WriteFlags) async throws(Errno) {
        await pass(.write, range)
        try await file.node.writeZeroes(range, flags: flags)
    }

    public func discard(_ range: ByteRange) async throws(Errno) {
        await pass(.write, range)
        try await file.node.discard(range)
    }

    public func flush() async throws(Errno) { try await file.node.flush() }

    public func blockStatus(_ range: ByteRange, precision: BlockStatusPrecision) async throws(Errno) -> BlockStatus {
        try await file.node.blockStatus(range, precision: precision)
    }

    // MARK: Control

    @GraphActor public func resize(to length: Int64, exact: Bool, preallocation: Preallocation) async throws(BlockError)
    {
        try await file.node.resize(to: length, exact: exact, preallocation: preallocation)
    }

    @GraphActor public func drainBegin() {
        drainDepth += 1
        member.group.beginBypass(member)
    }

    @GraphActor public func drainEnd() {
        drainDepth -= 1
        member.group.endBypass(member)
    }

    /// Moves the node to another group.
    @GraphActor public func prepareReopen(_ request: ReopenRequest) async throws(BlockError) -> ReopenAction {
        guard let configuration = request.driverOptions as? ThrottleNodeConfiguration else { return ReopenAction() }
        guard configuration.group !== group else { return ReopenAction() }
        let new = configuration.group.join()
        return ReopenAction(
            commit: {
                let old = self.member
                for _ in 0..<self.drainDepth {
                    old.group.endBypass(old)
                    new.group.beginBypass(new)
                }
                self.member = new
                old.group.leave(old)
            },
            abort: { new.group.leave(new) })
    }

    @GraphActor public func close() async { member.group.leave(member) }

    @GraphActor public func filename(of node: BlockNode) -> String { describingOptions(of: node).asFilename }
}

extension ThrottleDriver: DescribedByOptions {
    @GraphActor func describingOptions(of node: BlockNode) -> JSONObject {
        [
            "driver": "throttle", "throttle-group": .string(group.name),
            "file": .object(file.node.describingOptions),
        ]
    }
}
