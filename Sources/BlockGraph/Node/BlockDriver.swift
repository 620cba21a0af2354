import IOLoop

/// What a node is made of: a protocol, a format or a filter, opened.
///
/// The node calls the I/O functions from any I/O loop, many at a time, with requests that keep to `limits`. They run on the
/// caller's loop. Everything marked `@GraphActor` is the control plane. State that both touch is behind a lock, or changes
/// only in drained sections.
public protocol BlockDriver: AnyObject, Sendable {
    /// The driver's name in QMP: "raw", "copy-before-write", ...
    var driverName: String { get }
    /// The format's or protocol's name in `ImageInfo`; the driver's name unless stated otherwise.
    var formatName: String { get }
    /// The length of what the node shows, in bytes. Cheap; called on the I/O path.
    var length: Int64 { get }
    /// The sizes of requests that the driver takes. Constant outside of drained sections.
    var limits: BlockLimits { get }
    /// The flags of writes that `write` carries out itself; the node does without the others (a flush for `forceUnitAccess`).
    var supportedWriteFlags: WriteFlags { get }
    /// The same for `writeZeroes`.
    var supportedZeroFlags: WriteFlags { get }
    /// Whether the driver stores bytes itself rather than in children: file, null-co, ...
    var isProtocol: Bool { get }
    /// The child that shows the same data, where the driver is a filter.
    var filteredChild: BlockChild? { get }
    /// The child that provides what this layer does not have allocated.
    var backingChild: BlockChild? { get }
    /// The receiver of the node's debug events, where the driver is one.
    var debugEventSink: (any DebugEventSink)? { get }
    /// What keeps dirty bitmaps in the image; nil where nothing can.
    var bitmapStore: (any PersistentBitmapStore)? { get }
    /// What keeps snapshots in the image; nil where nothing can.
    var snapshotStore: (any InternalSnapshotStore)? { get }
    /// The bytes of a cluster of the image; nil where the format has none.
    var clusterSize: Int64? { get }

    // MARK: I/O

    /// Reads the range, which lies within `length` but for padding up to the request alignment, into the buffer.
    func read(_ range: ByteRange, into buffer: IOBuffer) async throws(Errno)
    /// Writes the buffer to the range. A write beyond `length` makes the node longer where the driver can do that.
    func write(_ range: ByteRange, from buffer: IOBuffer, flags: WriteFlags) async throws(Errno)
    /// Makes the range read as zeroes. ENOTSUP: the node writes zeroes instead, unless `noFallback` is given.
    func writeZeroes(_ range: ByteRange, flags: WriteFlags) async throws(Errno)
    /// Tells that the range is no longer needed; what it reads as afterwards is not said. ENOTSUP: nothing was done.
    func discard(_ range: ByteRange) async throws(Errno)
    /// Makes all writes that have returned durable, those to the children included.
    func flush() async throws(Errno)
    /// The status of a run from the start of the range, which is not empty; not longer than the range.
    func blockStatus(_ range: ByteRange, precision: BlockStatusPrecision) async throws(Errno) -> BlockStatus

    // MARK: Control

    /// Reads what the driver must know of its children, which have their permissions now. The last step of opening.
    @GraphActor func start(in node: BlockNode) async throws(BlockError)
    /// Changes the length in bytes, in a drained section. `exact`: a longer result is no good.
    @GraphActor func resize(to length: Int64, exact: Bool, preallocation: Preallocation) async throws(BlockError)
    /// The permissions that the node wants on the child, given what its own parents want of it.
    @GraphActor func permissions(on child: BlockChild, of node: BlockNode, wanted: PermissionPair) -> PermissionPair
    /// Checks, and takes on trial, the permissions in use on the node: an image lock, a file opened for writing.
    @GraphActor func preparePermissions(_ permissions: PermissionPair, of node: BlockNode) throws(BlockError)
    /// The permissions last prepared hold.
    @GraphActor func commitPermissions(of node: BlockNode)
    /// The permissions last prepared are given up; those before them hold.
    @GraphActor func abortPermissions(of node: BlockNode)
    /// Writes back what the driver holds as if it was closed, since the node is to be reopened: children may be other nodes
    /// then, or the node read-only. In a drained section; the options and children are still the old ones, and may stay.
    @GraphActor func settle(before options: NodeOptions, of node: BlockNode) async throws(BlockError)
    /// Checks new options and makes what they need. The children's edges have been replaced on trial already.
    @GraphActor func prepareReopen(_ request: ReopenRequest) async throws(BlockError) -> ReopenAction
    /// The node is about to be read-only: the driver stores what it keeps until the end. Before any option changes, in the
    /// drained section of a reopening.
    @GraphActor func becomeReadOnly() async throws(BlockError)
    /// The node has become writable, or stays so after `becomeReadOnly` in a reopening that was given up. A driver that cannot
    /// prepare its image for writing refuses requests from then on.
    @GraphActor func becomeWritable() async
    /// Children of the node have come or gone, or are other nodes, with the same options as before. In a drained section.
    @GraphActor func childrenChanged(in node: BlockNode)
    /// Queued requests are let through, and background work comes to an end. Called for every node below a drained parent.
    @GraphActor func drainBegin()
    /// Returns when no background work of the driver is under way.
    @GraphActor func drainFinished() async
    /// Background work may go on.
    @GraphActor func drainEnd()
    /// Flushes what the driver holds and lets go of its resources; the children are still there. Errors cannot be helped.
    @GraphActor func close() async

    // MARK: Queries

    /// The name that people know the image by: a file name, or "json:{...}" with the options.
    @GraphActor func filename(of node: BlockNode) -> String
    /// The bytes that the image takes up where it is stored; nil where unknown.
    @GraphActor func allocatedSize() async -> Int64?
}

/// How space is allocated when a node becomes longer. The wire names of QMP.
public enum Preallocation: String, Hashable, Sendable {
    /// None.
    case off
    /// The format's metadata.
    case metadata
    /// Space is reserved with fallocate(2).
    case falloc
    /// Zeroes are written.
    case full
}

/// A request to reopen a node with other options.
public struct ReopenRequest: Sendable {
    /// The node.
    public let node: BlockNode
    /// The options that all drivers have in common, as they will be.
    public let nodeOptions: NodeOptions
    /// The driver's own options, of the type that the driver was opened with.
    public let driverOptions: any Sendable

    /// A request with its parts.
    public init(node: BlockNode, nodeOptions: NodeOptions, driverOptions: any Sendable) {
        self.node = node
        self.nodeOptions = nodeOptions
        self.driverOptions = driverOptions
    }
}

/// What becomes of a prepared reopening: `commit` and then `finish` are called, or `abort`.
public struct ReopenAction: Sendable {
    /// The new options hold. Cannot fail.
    public let commit: @GraphActor @Sendable () -> Void
    /// The old options stay.
    public let abort: @GraphActor @Sendable () -> Void
    /// What remains to be done after everything has been committed, still in the drained section.
    public let finish: @GraphActor @Sendable () async -> Void

    /// An action; by default all do nothing.
    public init(
        commit: @escaping @GraphActor @Sendable () -> Void = {}, abort: @escaping @GraphActor @Sendable () -> Void = {},
        finish: @escaping @GraphActor @Sendable () async -> Void = {}
    ) {
        self.commit = commit
        self.abort = abort
        self.finish = finish
    }
}

extension BlockDriver {
    public var formatName: String { driverName }
    public var supportedWriteFlags: WriteFlags { [] }
    public var supportedZeroFlags: WriteFlags { [] }
    public var isProtocol: Bool { false }
    public var filteredChild: BlockChild? { nil }
    public var backingChild: BlockChild? { nil }
    public var debugEventSink: (any DebugEventSink)? { nil }
    public var bitmapStore: (any PersistentBitmapStore)? { nil }
    public var snapshotStore: (any InternalSnapshotStore)? { nil }
    public var clusterSize: Int64? { nil }

    public func writeZeroes(_ range: ByteRange, flags: WriteFlags) async throws(Errno) { throw .ENOTSUP }
    public func discard(_ range: ByteRange) async throws(Errno) { throw .ENOTSUP }

    @GraphActor public func start(in node: BlockNode) async throws(BlockError) {}
    @GraphActor public func resize(to length: Int64, exact: Bool, preallocation: Preallocation) async throws(BlockError)
    {
        throw BlockError("Image format driver does not support resize", kind: .generic, errno: .ENOTSUP)
    }
    @GraphActor public func permissions(
        on child: BlockChild, of node: BlockNode, wanted: PermissionPair
    ) -> PermissionPair {
        child.role.contains(.filtered) ? .filter(wanted) : .format(wanted, role: child.role, node: node)
    }
    @GraphActor public func preparePermissions(_ permissions: PermissionPair, of node: BlockNode) throws(BlockError) {}
    @GraphActor public func commitPermissions(of node: BlockNode) {}
    @GraphActor public func abortPermissions(of node: BlockNode) {}
    @GraphActor public func settle(before options: NodeOptions, of node: BlockNode) async throws(BlockError) {}
    @GraphActor public func prepareReopen(_ request: ReopenRequest) async throws(BlockError) -> ReopenAction {
        ReopenAction()
    }
    @GraphActor public func becomeReadOnly() async throws(BlockError) {}
    @GraphActor public func becomeWritable() async {}
    @GraphActor public func childrenChanged(in node: BlockNode) {}
    @GraphActor public func drainBegin() {}
    @GraphActor public func drainFinished() async {}
    @GraphActor public func drainEnd() {}
    @GraphActor public func close() async {}
    @GraphActor public func allocatedSize() async -> Int64? {
        guard let child = filteredChild else { return nil }
        return await child.node.driver.allocatedSize()
    }
}

extension PermissionPair {
    /// What a filter wants of its child: just what its parents want of it.
    public static func filter(_ wanted: PermissionPair) -> PermissionPair { wanted }

    /// What a format driver wants of a child that holds its data or metadata, or its backing file.
    @GraphActor
    public static func format(_ wanted: PermissionPair, role: ChildRole, node: BlockNode) -> PermissionPair {
        var pair = wanted
        if role.contains(.copyOnWrite) {
            // A backing file is read only, and must not change under the overlay unless the overlay's parents do not care.
            pair.used = wanted.used.intersection(.consistentRead)
            pair.shared = wanted.shared.contains(.write) ? .all : [.consistentRead, .writeUnchanged]
            return pair
        }
        if role.contains(.metadata) {
            if !node.isReadOnly { pair.used.formUnion([.write, .resize]) }
            pair.used.formUnion(.consistentRead)
            pair.shared.subtract([.write, .resize])
        }
        if role.contains(.data) {
            if pair.used.contains(.writeUnchanged) { pair.used.insert(.write) }
            if pair.used.contains(.write), !node.isReadOnly { pair.used.insert(.resize) }
            pair.shared.subtract(.resize)
        }
        return pair
    }
}
