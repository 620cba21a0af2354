import BlockGraph
import IOLoop
import JSON

/// Shows the point in time that a filter below keeps, read-only but for discards, which give parts of it up.
public final class SnapshotAccessDriver: BlockDriver, DescribedByOptions {
    private let provider: BlockChild
    private let byteCount: Int64

    init(provider: BlockChild, byteCount: Int64) {
        self.provider = provider
        self.byteCount = byteCount
    }

    /// Opens the driver in a node above `file`, which should keep a point in time; without one, all I/O is ENOTSUP.
    @GraphActor
    public static func open(in node: BlockNode, file: BlockNode) -> SnapshotAccessDriver {
        let edge = node.graph.attach(file, to: node, as: "file", role: [.data, .primary])
        let length = (file.driver as? any SnapshotProvider)?.snapshotLength ?? file.length
        return SnapshotAccessDriver(provider: edge, byteCount: length)
    }

    public var driverName: String { "snapshot-access" }
    public var length: Int64 { byteCount }
    public var limits: BlockLimits { BlockLimits() }

    private var snapshot: any SnapshotProvider {
        get throws(Errno) {
            guard let snapshot = provider.node.driver as? any SnapshotProvider else { throw .ENOTSUP }
            return snapshot
        }
    }

    public func read(_ range: ByteRange, into buffer: IOBuffer) async throws(Errno) {
        try await snapshot.readSnapshot(range, into: buffer)
    }

    /// ENOTSUP: a point in time cannot be written.
    public func write(_ range: ByteRange, from buffer: IOBuffer, flags: WriteFlags) async throws(Errno) {
        throw .ENOTSUP
    }

    public func discard(_ range: ByteRange) async throws(Errno) { try await snapshot.discardSnapshot(range) }

    public func flush() async throws(Errno) {}

    public func blockStatus(_ range: ByteRange, precision: BlockStatusPrecision) async throws(Errno) -> BlockStatus {
        try await snapshot.snapshotStatus(range, precision: precision)
    }

    // MARK: Control

    @GraphActor func describingOptions(of node: BlockNode) -> JSONObject {
        ["driver": "snapshot-access", "file": .object(provider.node.describingOptions)]
    }

    @GraphActor public func filename(of node: BlockNode) -> String {
        provider.node.driver.filename(of: provider.node)
    }

    /// The filter below answers for its own children; the reader asks nothing of it and lets everybody else do anything.
    @GraphActor public func permissions(
        on child: BlockChild, of node: BlockNode, wanted: PermissionPair
    ) -> PermissionPair {
        PermissionPair()
    }
}
