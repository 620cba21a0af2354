import BlockGraph
import CLinuxShims
import IOLoop
import Synchronization

/// An image file, or a block device, of the host.
///
/// I/O goes through the ring of the caller's loop. The descriptor that it uses changes only when the file is opened anew
/// for writing or with other cache options: requests under way keep the old one, which stays open until the node closes.
public final class FileDriver: BlockDriver {
    /// How the file was opened.
    public let configuration: FileConfiguration

    /// The descriptor that new requests use.
    var file: FileDescriptor { FileDescriptor(rawValue: descriptor.load(ordering: .acquiring)) }

    private let descriptor: Atomic<Int32>
    private let byteCount: Atomic<Int64>
    /// Whether fallocate(2) turned out not to zero a range, and not to punch holes.
    let lacksZeroRange = Atomic<Bool>(false)
    let lacksPunchHole = Atomic<Bool>(false)

    /// Whether requests on the file are copying and nothing else, so that they need no ring.
    let isInMemory: Bool

    /// The error number of the first flush that failed, 0 where none did.
    let flushError = Atomic<Int32>(0)
    /// Where data was found last.
    let dataExtents = DataExtentCache()
    /// Counts the discards that reached the file.
    let discards = DiscardCounters()

    @GraphActor var lock: ImageLock?
    /// A descriptor for writing that the permissions on trial ask for.
    @GraphActor var pending: FileDescriptor?
    @GraphActor var isWritable: Bool
    @GraphActor private var retired: [FileDescriptor] = []

    /// Written in drained sections only, when no I/O reads it.
    nonisolated(unsafe) private(set) var currentLimits: BlockLimits

    init(
        configuration: FileConfiguration, file: FileDescriptor, isWritable: Bool, byteCount: Int64,
        limits: BlockLimits, lock: ImageLock?
    ) {
        self.configuration = configuration
        descriptor = Atomic(file.rawValue)
        self.isWritable = isWritable
        isInMemory = file.isInMemory
        self.byteCount = Atomic(byteCount)
        currentLimits = limits
        self.lock = lock
    }

    public var driverName: String { configuration.kind.rawValue }
    public var isProtocol: Bool { true }
    public var limits: BlockLimits { currentLimits }
    public var supportedZeroFlags: WriteFlags { [.mayUnmap, .noFallback, .leavingHoles] }

    /// The length, rounded up to whole sectors of 512 bytes; what lies between reads as zeroes.
    public var length: Int64 { byteCount.load(ordering: .relaxed).alignedUp(to: 512) }

    /// Notes that the file reaches at least to `end`.
    func noteEnd(_ end: Int64) {
        if end > byteCount.load(ordering: .relaxed) { _ = byteCount.max(end, ordering: .relaxed) }
    }

    /// Notes the file's length after it was cut or made longer.
    @GraphActor func setByteCount(_ count: Int64) {
        byteCount.store(count, ordering: .relaxed)
        dataExtents.forget()
    }

    /// Puts another descriptor of the same file, opened for writing, in the place of the current one. Requests may be
    /// under way, so that the former one stays open.
    @GraphActor func replaceDescriptor(withWritable file: FileDescriptor) {
        retired.append(FileDescriptor(rawValue: descriptor.exchange(file.rawValue, ordering: .acquiringAndReleasing)))
        isWritable = true
    }

    /// Puts another descriptor of the same file in the place of all former ones. In a drained section.
    @GraphActor func replaceDescriptors(with file: FileDescriptor, isWritable: Bool, limits: BlockLimits) {
        let former = FileDescriptor(rawValue: descriptor.exchange(file.rawValue, ordering: .acquiringAndReleasing))
        for file in retired + [former] { file.closeNow() }
        retired = []
        self.isWritable = isWritable
        currentLimits = limits
    }

    /// The discards so far: how many worked, how many failed, and the bytes of those that worked.
    public var discardCounts: (succeeded: UInt64, failed: UInt64, bytes: UInt64) { discards.values }

    // MARK: Control

    @GraphActor public func filename(of node: BlockNode) -> String { configuration.filename }

    @GraphActor public func allocatedSize() async -> Int64? {
        guard let status = try? await file.statx() else { return nil }
        return Int64(status.allocatedSize)
    }

    @GraphActor public func resize(to length: Int64, exact: Bool, preallocation: Preallocation) async throws(BlockError)
    {
        guard configuration.kind == .file else { return try checkDeviceResize(to: length, exact: exact) }
        guard preallocation != .metadata else {
            throw BlockError("Unsupported preallocation mode: metadata", kind: .generic, errno: .ENOTSUP)
        }
        let old = byteCount.load(ordering: .relaxed)
        if length < old, preallocation != .off {
            throw BlockError("Cannot use preallocation for shrinking files", kind: .generic, errno: .EINVAL)
        }
        do {
            try await file.ftruncate(to: Int(length))
            setByteCount(length)
            if length > old { try await Self.preallocate(file, old..<length, mode: preallocation) }
        } catch {
            if length > old {
                try? await file.ftruncate(to: Int(old))  // The longer file is of no use; the first error counts.
                setByteCount(old)
            }
            throw BlockError("Could not resize file", causedBy: error)
        }
    }

    /// Allocates space for the end of a file, which is not empty.
    static func preallocate(
        _ file: FileDescriptor, _ range: ByteRange, mode: Preallocation
    ) async throws(Errno) {
        switch mode {
        case .off, .metadata: return
        case .falloc:
            try await file.fallocate(.allocate, offset: Int(range.lowerBound), length: Int(range.length))
        case .full:
            let zeroes = BufferPool.shared.take(count: 1 << 20)
            defer { BufferPool.shared.give(zeroes) }
            zeroes.fill(0)
            for piece in range.pieces(ofAtMost: 1 << 20) {
                try await file.writeFully(from: zeroes[0..<Int(piece.length)], at: Int(piece.lowerBound))
            }
            try await file.fdatasync()
        }
    }

    private func checkDeviceResize(to length: Int64, exact: Bool) throws(BlockError) {
        let current = self.length
        if length > current { throw BlockError("Cannot grow device files", kind: .generic, errno: .EINVAL) }
        if length != current, exact { throw BlockError("Cannot resize device files", kind: .generic, errno: .ENOTSUP) }
    }

    @GraphActor public func close() async {
        for file in retired + [file] { try? await file.close() }  // Nobody is left to tell; data was flushed before.
        if let lock { try? await lock.file.close() }
        retired = []
        lock = nil
    }
}
