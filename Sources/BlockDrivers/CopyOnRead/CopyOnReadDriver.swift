import BlockGraph
import IOLoop
import JSON

/// The filter that copies what is read from backing images into the image below it, so that it is read from there next time.
///
/// The copying excludes all other requests to the same place of the image, also those that do not come through the filter, so
/// that nothing that is written meanwhile is lost.
public final class CopyOnReadDriver: DescribedByOptions {
    /// How many parts of one read are copied at the same time.
    static let concurrency = 8

    /// The disk below.
    public let file: BlockChild
    /// The lowest layer whose data are copied; nil for all layers.
    public let bottom: BlockNode?

    @GraphActor private var chain: FrozenChain?

    private init(file: BlockChild, bottom: BlockNode?) {
        self.file = file
        self.bottom = bottom
    }

    /// Opens the filter in a node above `file`. As long as it is there, the links down to `bottom` stay as they are.
    ///
    /// Errors: `bottom` is a filter, or not in the chain of `file`.
    @GraphActor
    public static func open(
        in node: BlockNode, file: BlockNode, bottom: BlockNode? = nil
    ) throws(BlockError) -> CopyOnReadDriver {
        if let bottom, bottom.isFilter { throw BlockError("Bottom node '\(bottom.name)' is a filter") }
        let edge = node.graph.attach(file, to: node, as: "file", role: [.filtered, .primary])
        return CopyOnReadDriver(file: edge, bottom: bottom)
    }

    public var driverName: String { "copy-on-read" }
    public var length: Int64 { file.node.length }
    public var clusterSize: Int64? { file.node.driver.clusterSize }
    public var filteredChild: BlockChild? { file }
    public var supportedWriteFlags: WriteFlags { [.forceUnitAccess, .unchanged] }
    public var supportedZeroFlags: WriteFlags { [.forceUnitAccess, .mayUnmap, .noFallback, .unchanged] }
    public var limits: BlockLimits { file.node.driver.limits.ofFilter }

    /// The layer that data are copied to.
    public var image: BlockNode { file.node.belowFilters }
    /// The layer below those whose data are copied; nil where there is none.
    public var base: BlockNode? {
        guard let bottom else { return nil }
        return (bottom.driver.filteredChild ?? bottom.driver.backingChild)?.node
    }

    // MARK: I/O

    /// Reads, and copies first. A guest does not care about copies that fail, and reads where the data are.
    public func read(_ range: ByteRange, into buffer: IOBuffer) async throws(Errno) {
        try? await copy(range)
        try await file.node.read(range, into: buffer)
    }

    /// Copies what the range shows of the layers down to `bottom` into the image. Errors: reading or writing failed.
    public func copy(_ range: ByteRange) async throws(CopyUpError) {
        let image = image
        let base = base
        let end = min(range.upperBound, image.length)
        var start = range.lowerBound
        var parts: [ByteRange] = []
        while start < end {
            let run: LayerRun
            do {
                run = try await image.layerRun(start..<end, above: base)
            } catch {
                throw CopyUpError(errno: error, isRead: true)
            }
            if run.place == .below { parts += (start..<start + run.length).pieces(ofAtMost: BlockNode.copyUpSize) }
            start += run.length
        }
        if parts.count <= 1 {
            for part in parts { try await image.copyUp(part, above: base) }
        } else {
            try await copy(parts, to: image, above: base)
        }
    }

    private func copy(
        _ parts: [ByteRange], to image: BlockNode, above base: BlockNode?
    ) async throws(CopyUpError) {
        let failure = FirstFailure()
        try? await concurrently(parts, limit: Self.concurrency) { (part) async throws(Errno) in
            do throws(CopyUpError) {
                try await image.copyUp(part, above: base)
            } catch {
                failure.note(error)
            }
        }
        if let error = failure.error { throw error }
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
        try await file.node.blockStatus(range, precision: precision)
    }

    // MARK: Control

    @GraphActor public func start(in node: BlockNode) async throws(BlockError) {
        if let bottom { chain = try node.graph.freeze(from: node, to: bottom) }
        let image = image
        try await node.graph.drained([image]) { () async throws(BlockError) in image.trackRequests() }
    }

    /// Whatever is read may be written as well.
    @GraphActor public func permissions(
        on child: BlockChild, of node: BlockNode, wanted: PermissionPair
    ) -> PermissionPair {
        PermissionPair(used: wanted.used.union(.writeUnchanged), shared: wanted.shared)
    }

    @GraphActor public func resize(
        to length: Int64, exact: Bool, preallocation: Preallocation
    ) async throws(BlockError) {
        try await file.node.resize(to: length, exact: exact, preallocation: preallocation)
    }

    /// Another image may be below now.
    @GraphActor public func childrenChanged(in node: BlockNode) { image.trackRequests() }

    /// Lets the links below be changed, before a job that made the filter changes them.
    @GraphActor public func thaw() { chain?.thaw() }

    @GraphActor public func close() async { thaw() }

    /// A filter that somebody gave a name is told of; one that a job has put there is not.
    @GraphActor public func filename(of node: BlockNode) -> String {
        node.hasGeneratedName ? file.node.driver.filename(of: file.node) : describingOptions(of: node).asFilename
    }

    @GraphActor func describingOptions(of node: BlockNode) -> JSONObject {
        node.hasGeneratedName
            ? file.node.describingOptions : ["driver": "copy-on-read", "file": .object(file.node.describingOptions)]
    }
}
