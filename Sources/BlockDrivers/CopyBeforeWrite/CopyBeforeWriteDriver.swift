import BlockGraph
import IOLoop
import JSON
import Synchronization

/// The filter that keeps a point in time of the disk below it: before a cluster is written for the first time, its old
/// data go to the target.
///
/// A guest write waits for the copies of its clusters, then for the snapshot reads of the same clusters that are reading
/// the disk; for nothing else. A snapshot read waits for nobody. See `SnapshotState` for the states of a cluster.
///
/// Where the point in time may break, a guest write waits only until the old data are in memory (`DelayedWriter`).
public final class CopyBeforeWriteDriver: SnapshotProvider, DescribedByOptions {
    /// The most that one copy moves at a time, in bytes: a power of two.
    static let maximumCopy: Int64 = 1 << 20
    /// How many copies may be under way in all, which bounds the memory that they take; and how many tasks help readers.
    static let maximumCopies = 64
    /// How many copies of one guest request, or parts of one snapshot read, run at the same time.
    static let concurrency = 16
    /// So many copies under way are few: each is somebody's only one.
    static let fewCopies = 2
    /// The least size of a cluster in bytes.
    static let defaultClusterSize: Int64 = 65536

    /// The options that the filter works with.
    public let configuration: CopyBeforeWriteConfiguration

    let source: BlockChild
    let target: BlockChild
    let state: SnapshotState
    /// Counts the copies that nobody waits for: any more, since their time was up, or from the beginning.
    let background = RequestGate()
    /// The copies that may begin still.
    let copySlots = AsyncSemaphore(maximumCopies)
    /// The copies that somebody waits for.
    let copiesUnderWay = Atomic<Int>(0)
    /// Help with snapshot reads of several parts.
    let readers = WorkerPool<SnapshotRead>(maximum: maximumCopies)
    /// Writes old data that no guest write waits for; nil where each waits for its own.
    let delayedWriter: DelayedWriter?
    let sleep: @Sendable (Duration) async throws(Errno) -> Void
    /// Whether the target's backing image is the source: who reads the target reads the source where nothing is copied yet,
    /// and is waited for before a copy arrives.
    let isBackedBySource: Bool
    /// Whether the job is over and the source has its users back.
    private let leavesSource = Atomic<Bool>(false)

    init(
        configuration: CopyBeforeWriteConfiguration, source: BlockChild, target: BlockChild, state: SnapshotState,
        isBackedBySource: Bool, delaysCopies: Bool, sleep: @escaping @Sendable (Duration) async throws(Errno) -> Void
    ) {
        self.configuration = configuration
        self.source = source
        self.target = target
        self.state = state
        self.isBackedBySource = isBackedBySource
        self.sleep = sleep
        delayedWriter = delaysCopies ? DelayedWriter(target: target, snapshot: state, gate: background) : nil
    }

    /// Opens the filter in a node above `source`, with `target` for the old data.
    ///
    /// - Parameter sleep: how to wait for `cbw-timeout`; tests give a clock of their own.
    /// A target that is too short fails copies, not opening. Errors: the cluster size or the bitmap is no good.
    @GraphActor
    public static func open(
        _ configuration: CopyBeforeWriteConfiguration, in node: BlockNode, source: BlockNode, target: BlockNode,
        sleep: @escaping @Sendable (Duration) async throws(Errno) -> Void = { (duration) async throws(Errno) in
            try await IOLoop.sleep(for: duration)
        }
    ) throws(BlockError) -> CopyBeforeWriteDriver {
        let sourceEdge = node.graph.attach(source, to: node, as: "file", role: [.filtered, .primary])
        let targetEdge = node.graph.attach(target, to: node, as: "target", role: .data)
        let clusterSize = try clusterSize(configuration, target: target)
        if let bitmap = configuration.bitmap, bitmap.length != source.length {
            let mismatch = BitmapError.differentSizes(destination: source.length, source: bitmap.length)
            throw BlockError(
                """
                Cannot create block-copy-state: Failed to merge bitmap '\(bitmap.name ?? "")' to internal copy-bitmap: \
                \(mismatch.description)
                """)
        }
        let state = SnapshotState(length: source.length, clusterSize: clusterSize, covering: configuration.bitmap)
        for bitmap in [state.copy, state.done, state.access] { node.bitmaps.insert(bitmap) }
        // The section of the job keeps requests away from the target.
        let reachesSource = node.graph.reaches(target, source)
        let isBackedBySource = configuration.job != nil && reachesSource
        if isBackedBySource { target.trackRequests() }
        return CopyBeforeWriteDriver(
            configuration: configuration, source: sourceEdge, target: targetEdge, state: state,
            isBackedBySource: isBackedBySource, delaysCopies: configuration.mayDelayCopies && !reachesSource,
            sleep: sleep)
    }

    /// The size of what is copied at once: not less than what the target allocates at once.
    private static func clusterSize(
        _ configuration: CopyBeforeWriteConfiguration, target: BlockNode
    ) throws(BlockError) -> Int64 {
        let minimum = configuration.minimumClusterSize
        guard minimum >= 0, minimum & (minimum - 1) == 0 || minimum == 0 else {
            throw BlockError("Cannot create block-copy-state: min-cluster-size needs to be a power of 2")
        }
        return max(minimum, defaultClusterSize, target.imageClusterSize ?? 0)
    }

    public var driverName: String { "copy-before-write" }
    public var length: Int64 { source.node.length }
    public var limits: BlockLimits { source.node.driver.limits }
    public var supportedWriteFlags: WriteFlags { [.forceUnitAccess, .unchanged] }
    public var supportedZeroFlags: WriteFlags { [.forceUnitAccess, .mayUnmap, .noFallback, .unchanged] }
    public var filteredChild: BlockChild? { source }
    public var snapshotLength: Int64 { state.length }

    /// The flags of copies in the target.
    var copyFlags: WriteFlags {
        var flags: WriteFlags = isBackedBySource ? .serialising : []
        if configuration.job?.isCompressed == true { flags.insert(.compressed) }
        return flags
    }

    /// Whether flushes reach the source.
    var flushesSource: Bool { !leavesSource.load(ordering: .relaxed) }

    /// Takes the filter out of the graph, and closes it: its users use the source again. Cannot fail, as the source is less
    /// restricted then.
    @GraphActor public func removeFilter(_ node: BlockNode) async {
        try? await node.graph.replace(node, by: source.node)
        // The source is for its users to flush.
        leavesSource.store(true, ordering: .relaxed)
        await node.graph.closeIfUnused(node)
    }

    /// The bytes of a cluster: the least that is copied.
    public var clusterSizeOfCopies: Int64 { state.clusterSize }

    // MARK: Control

    @GraphActor func describingOptions(of node: BlockNode) -> JSONObject {
        [
            "driver": "copy-before-write", "file": .object(source.node.describingOptions),
            "target": .object(target.node.describingOptions),
        ]
    }

    @GraphActor public func filename(of node: BlockNode) -> String { source.node.driver.filename(of: source.node) }

    @GraphActor public func permissions(
        on child: BlockChild, of node: BlockNode, wanted: PermissionPair
    ) -> PermissionPair {
        if child === target, configuration.job != nil {
            // Nobody trusts the job's target before the job is over.
            return PermissionPair(used: .write, shared: [.consistentRead, .write, .writeUnchanged])
        }
        if child === target {
            // The snapshot reader trusts what is there, so that nobody else may write.
            return PermissionPair(used: [.consistentRead, .write], shared: [.consistentRead, .writeUnchanged])
        }
        // A filter without parents does not see writes that pass it by: it is not in use yet.
        if node.parents.allSatisfy(\.isGoingAway) { return PermissionPair() }
        let own: BlockPermissions =
            configuration.job?.discardsSource == true ? [.consistentRead, .write] : .consistentRead
        return PermissionPair(
            used: wanted.used.union(own), shared: wanted.shared.subtracting([.write, .resize]))
    }

    @GraphActor public func drainFinished() async { await background.waitUntilEmpty() }

    @GraphActor public func close() async {
        delayedWriter?.close()
        readers.close()
    }

    /// Changes the length of the disk. The point in time keeps its own: what is cut off is copied first.
    @GraphActor public func resize(
        to length: Int64, exact: Bool, preallocation: Preallocation
    ) async throws(BlockError) {
        if length < source.node.length {
            do {
                try await copyBeforeWrite(length..<source.node.length, mayDelay: false)
            } catch {
                throw BlockError("Could not copy what is to be cut off", causedBy: error)
            }
        }
        try await source.node.resize(to: length, exact: exact, preallocation: preallocation)
    }
}
