import BlockGraph
import IOLoop
import JSON

/// The filter above the images whose data a job commits to one of their backing images. It shows what is below, and takes
/// nothing else from the images: what they show by themselves is nothing to rely on meanwhile.
public final class CommitTopDriver: BlockDriver {
    /// The uppermost image whose data are committed.
    public let image: BlockChild

    private init(_ image: BlockChild) { self.image = image }

    /// Opens the filter in a node above `image`.
    @GraphActor
    public static func open(in node: BlockNode, image: BlockNode) -> CommitTopDriver {
        CommitTopDriver(node.graph.attach(image, to: node, as: "backing", role: [.filtered, .primary]))
    }

    public var driverName: String { "commit_top" }
    public var length: Int64 { image.node.length }
    public var clusterSize: Int64? { image.node.driver.clusterSize }
    public var limits: BlockLimits {
        var limits = BlockLimits()
        limits.requestAlignment = image.node.driver.limits.requestAlignment
        return limits
    }
    public var filteredChild: BlockChild? { image }

    public func read(_ range: ByteRange, into buffer: IOBuffer) async throws(Errno) {
        try await image.node.read(range, into: buffer)
    }

    /// EPERM: the filter is for reading.
    public func write(_ range: ByteRange, from buffer: IOBuffer, flags: WriteFlags) async throws(Errno) {
        throw .EPERM
    }

    public func flush() async throws(Errno) {}

    public func blockStatus(_ range: ByteRange, precision: BlockStatusPrecision) async throws(Errno) -> BlockStatus {
        try await image.node.blockStatus(range, precision: precision)
    }

    @GraphActor public func permissions(
        on child: BlockChild, of node: BlockNode, wanted: PermissionPair
    ) -> PermissionPair {
        PermissionPair()
    }

    @GraphActor public func filename(of node: BlockNode) -> String { image.node.driver.filename(of: image.node) }
}

extension CommitTopDriver: DescribedByOptions {
    @GraphActor func describingOptions(of node: BlockNode) -> JSONObject { image.node.describingOptions }
}
