import BlockDrivers
import BlockGraph
import IOLoop
import Synchronization

/// Copies a disk, and what is written to it meanwhile, until a client completes the job: then the target takes the source's
/// place. An active commit is a mirror whose target is a backing image of its source.
///
/// `run` is the one that takes areas and starts copies, on the control plane; each copy is a task. The rest is in `MirrorLink`,
/// which the filter above the source shares.
@GraphActor
public final class MirrorJob: JobBody {
    /// How many copies run at the same time.
    static let maximumCopies = 64
    /// A larger buffer is used by half only: what has been read is to be written while the processor has it in its caches.
    static let wholeBuffer: Int64 = 8 << 20
    /// The most bytes of one copy, unless the buffer is larger.
    static let usualCopy: Int64 = 1 << 20

    let options: MirrorOptions
    let link: MirrorLink
    let graph: BlockGraph
    let filter: BlockNode
    let source: BlockNode
    let target: BlockNode
    let results: MirrorResults

    /// Set when the job is made.
    var job: Job?
    var sourceUser: BlockBackend?
    var targetUser: BlockBackend?
    /// Keeps the filter while nobody else is above it.
    var filterUser: BlockBackend?

    /// The copies under way, and the bytes of their buffers.
    var copies = 0
    var bytesInFlight: Int64 = 0
    /// Where the source is known to hold data, so that copies need not ask.
    var knownData: ByteRange = 0..<0
    /// When the speed limit allows the next copy.
    var resumeAt: (time: MonotonicTime, speed: Int64)?
    /// The error that ends the job.
    var failure: Errno?
    var isReady = false
    /// What guest writes have brought to the target, as far as the progress tells it.
    var shownMirroredBytes: Int64 = 0
    /// The bytes that were copied before the job was ready, and how many that may be before guest writes have to help.
    var copiedBytes: Int64 = 0
    var patience: Int64 = .max
    /// Whether a client wants guest writes to go to both sides.
    var isWriteBlocking: Bool
    /// Whether both sides are the same and stay so.
    public internal(set) var isActivelySynced = false
    /// The links from the source to the target of a commit.
    var frozen: FrozenChain?
    /// Called when the job has ended without a pivot.
    var restore: @GraphActor @Sendable () async -> Void = {}
    /// Whether the target has taken the place of the source.
    var hasPivoted = false
    /// Takes the pivot back.
    var undo: GraphUndo?

    init(
        options: MirrorOptions, link: MirrorLink, filter: BlockNode, source: BlockNode, target: BlockNode,
        results: MirrorResults
    ) {
        self.options = options
        self.link = link
        self.filter = filter
        self.source = source
        self.target = target
        self.results = results
        graph = source.graph
        isWriteBlocking = options.isWriteBlocking
    }

    /// The most bytes in memory at a time.
    var bufferLimit: Int64 { max(options.bufferSize, 1).alignedUp(to: link.map.granularity) }

    /// While so many bytes are being copied no copy begins.
    var flightLimit: Int64 { min(bufferLimit, max(Self.wholeBuffer, bufferLimit / 2)) }

    /// The most bytes of one copy.
    var copyLimit: Int64 {
        min(max(Self.usualCopy, (bufferLimit / 16).alignedDown(to: link.map.granularity)), bufferLimit)
    }

    /// A client who cancels a mirror that is ready, without force, keeps a copy that is whole.
    public var endsSoftly: Bool { true }

    /// A client changes the copy mode.
    public func change(_ options: any Sendable) throws(BlockError) {
        guard self.options.sync != .aboveTarget, let change = options as? MirrorChange else {
            throw BlockError("Job type does not support change")
        }
        if change.isWriteBlocking == isWriteBlocking { return }
        guard change.isWriteBlocking else {
            throw BlockError("Change to copy mode 'background' is not implemented")
        }
        isWriteBlocking = true
        link.mode = .writeBlocking
    }
}

/// What a client changes of a mirror.
public struct MirrorChange: Sendable {
    /// Whether guest writes go to both sides from now on.
    public let isWriteBlocking: Bool

    /// A change of the copy mode.
    public init(isWriteBlocking: Bool) { self.isWriteBlocking = isWriteBlocking }
}

/// What copies and guest writes leave for the job to see, from any loop.
final class MirrorResults: Sendable {
    /// A copy that has ended.
    struct Copy: Sendable {
        let range: ByteRange
        let bufferBytes: Int64
        let failure: MirrorFailure?
    }

    private let copies = Mutex<[Copy]>([])
    /// Whether the job sleeps until it hears something.
    private let isAsleep = Atomic(false)
    private let queue = Mutex<WaitQueue?>(nil)

    /// The job's queue, which `wake` notifies.
    func connect(to changes: WaitQueue) { queue.withLock { $0 = changes } }

    /// A copy has ended.
    func add(_ copy: Copy) {
        copies.withLock { $0.append(copy) }
        wake()
    }

    /// The copies that have ended since the last call.
    func take() -> [Copy] {
        copies.withLock { copies in
            defer { copies = [] }
            return copies
        }
    }

    /// Whether there is something to take.
    var isEmpty: Bool { copies.withLock { $0.isEmpty } }

    /// The job is about to look whether it may sleep.
    func fallAsleep() { isAsleep.store(true, ordering: .sequentiallyConsistent) }

    /// Wakes the job where it sleeps.
    func wake() {
        guard isAsleep.load(ordering: .sequentiallyConsistent),
            isAsleep.exchange(false, ordering: .sequentiallyConsistent)
        else { return }
        queue.withLock { $0 }?.notifyAll()
    }
}
