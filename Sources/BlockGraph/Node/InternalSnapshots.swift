import IOLoop

/// A point in time of a disk that is kept within its image.
public struct InternalSnapshot: Hashable, Sendable {
    /// What the image calls it; unique within the image.
    public var id: String
    /// What people call it; need not be unique.
    public var name: String
    /// The bytes of a virtual machine's state; 0 where there is none.
    public var vmStateSize: UInt64
    /// When it was taken: seconds since 1970.
    public var seconds: UInt32
    /// The nanoseconds after `seconds`.
    public var nanoseconds: UInt32
    /// How long the guest had been running, in nanoseconds.
    public var vmClock: UInt64
    /// The count of instructions of a recorded run; nil where none was recorded.
    public var instructionCount: UInt64?
    /// The length of the disk in bytes; nil where the image does not tell.
    public var diskSize: UInt64?

    /// A snapshot with its parts.
    public init(
        id: String, name: String, vmStateSize: UInt64 = 0, seconds: UInt32, nanoseconds: UInt32, vmClock: UInt64 = 0,
        instructionCount: UInt64? = nil, diskSize: UInt64? = nil
    ) {
        self.id = id
        self.name = name
        self.vmStateSize = vmStateSize
        self.seconds = seconds
        self.nanoseconds = nanoseconds
        self.vmClock = vmClock
        self.instructionCount = instructionCount
        self.diskSize = diskSize
    }
}

/// What keeps snapshots in an image: a format driver that can do so. Changes happen in drained sections.
public protocol InternalSnapshotStore: AnyObject, Sendable {
    /// The snapshots in the image's order. ENOTSUP: this image cannot have any.
    @GraphActor func list() throws(Errno) -> [InternalSnapshot]

    /// Takes a snapshot of the disk as it is; durable on return. The id is made up.
    ///
    /// - Parameter instructionCount: what the snapshot says of a recorded run; nil for nothing.
    /// Errors: ENOTSUP as in `list`; EFBIG where there are too many; EINVAL where a cluster cannot have so many references;
    /// those of the file. The image stays consistent.
    @GraphActor func create(name: String, instructionCount: UInt64?) async throws(Errno) -> InternalSnapshot

    /// Makes the disk what it was in a snapshot, length included; durable on return.
    ///
    /// Errors: there is no such id; the node has dirty bitmaps, which would no longer tell the truth; those of the file.
    @GraphActor func apply(id: String) async throws(BlockError)

    /// Shows the disk of a snapshot instead of the current one until the node is closed, which must be open read-only. The
    /// length stays that of the image. Errors: there is no such id; its tables cannot be read.
    @GraphActor func show(id: String) async throws(BlockError)

    /// Removes a snapshot; durable on return. Errors: there is no such id; those of the file.
    @GraphActor func delete(id: String) async throws(BlockError)
}

extension InternalSnapshotStore {
    /// Takes a snapshot that says nothing of a recorded run.
    @GraphActor public func create(name: String) async throws(Errno) -> InternalSnapshot {
        try await create(name: name, instructionCount: nil)
    }
}

extension BlockNode {
    /// What keeps snapshots for the node: its driver, or that of the node below a filter; with the node. Nil: nobody.
    @GraphActor public var snapshotStore: (node: BlockNode, store: any InternalSnapshotStore)? {
        if let store = driver.snapshotStore { return (self, store) }
        return driver.filteredChild?.node.snapshotStore
    }
}
