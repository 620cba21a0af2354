import BlockGraph
import IOLoop
import JSON

/// The filter that a mirror puts above its source, so that it sees what guests write.
public final class MirrorTopDriver: BlockDriver, DescribedByOptions {
    let source: BlockChild
    /// The mirror.
    public let link: MirrorLink

    private let isCommit: Bool

    private init(source: BlockChild, link: MirrorLink, isCommit: Bool) {
        self.source = source
        self.link = link
        self.isCommit = isCommit
    }

    /// Opens the filter in a node above `source`.
    ///
    /// - Parameter isCommit: whether the target is a backing image of the source.
    @GraphActor
    public static func open(
        in node: BlockNode, source: BlockNode, link: MirrorLink, isCommit: Bool = false
    ) -> MirrorTopDriver {
        let edge = node.graph.attach(source, to: node, as: "backing", role: [.filtered, .primary])
        node.bitmaps.insert(link.map.dirty)
        return MirrorTopDriver(source: edge, link: link, isCommit: isCommit)
    }

    public var driverName: String { "mirror_top" }
    public var length: Int64 { source.node.length }
    public var limits: BlockLimits { source.node.driver.limits }
    public var supportedWriteFlags: WriteFlags { [.forceUnitAccess, .unchanged] }
    public var supportedZeroFlags: WriteFlags { [.forceUnitAccess, .mayUnmap, .noFallback, .unchanged] }
    public var filteredChild: BlockChild? { source }

    // MARK: I/O

    public func read(_ range: ByteRange, into buffer: IOBuffer) async throws(Errno) {
        try await source.node.read(range, into: buffer)
    }

    public func write(_ range: ByteRange, from buffer: IOBuffer, flags: WriteFlags) async throws(Errno) {
        try await link.perform(.write(buffer), range, flags: flags, on: source.node)
    }

    public func writeZeroes(_ range: ByteRange, flags: WriteFlags) async throws(Errno) {
        try await link.perform(.zeroes, range, flags: flags, on: source.node)
    }

    public func discard(_ range: ByteRange) async throws(Errno) {
        try await link.perform(.discard, range, flags: [], on: source.node)
    }

    public func flush() async throws(Errno) { try await source.node.flush() }

    public func blockStatus(_ range: ByteRange, precision: BlockStatusPrecision) async throws(Errno) -> BlockStatus {
        try await source.node.blockStatus(range, precision: precision)
    }

    // MARK: Control

    @GraphActor func describingOptions(of node: BlockNode) -> JSONObject {
        ["driver": "mirror_top", "backing": .object(source.node.describingOptions)]
    }

    @GraphActor public func filename(of node: BlockNode) -> String { source.node.driver.filename(of: source.node) }

    /// The mirror's bitmap has the length of the disk, which must not change. A commit's target lies below the source: what is
    /// between them shows neither the old nor the new data then.
    @GraphActor public func permissions(
        on child: BlockChild, of node: BlockNode, wanted: PermissionPair
    ) -> PermissionPair {
        PermissionPair(
            used: isCommit ? wanted.used.subtracting(.consistentRead) : wanted.used.union(.consistentRead),
            shared: wanted.shared.subtracting(.resize))
    }
}
