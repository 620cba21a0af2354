import BlockGraph
import IOLoop
import Qcow2Format
import Synchronization

/// The tables of an open qcow2 image: which guest cluster lies where, which clusters are free, and how changes of that
/// reach the disk so that a crash at any moment leaves at most leaked clusters.
///
/// Tables change in memory at once. `commit()` writes the changes in an order in which nothing on disk ever refers to what
/// is not there yet: refcounts first, then L2 tables, then the L1 table, with flushes between. A cluster that is no longer
/// needed is used again only when no table on disk refers to it and no request under way can still use it.
///
/// Requests come from any I/O loop, many at a time. Spec: qcow2.txt.
public final class Qcow2Image: Sendable {
    /// The image's node.
    public let node: BlockNode
    /// Where the metadata lies, and the guest's clusters unless there is a data file.
    public let file: BlockChild
    /// Where the guest's clusters lie, at the guest's offsets, if not in `file`.
    public let dataFile: BlockChild?
    /// The sizes that follow from the header.
    public let geometry: Qcow2Geometry

    let layout: Qcow2Layout
    /// Short sections only, never across a suspension.
    let tables: Mutex<Qcow2Tables>
    let quarantine: Mutex<Quarantine>

    // Held across suspensions; taken in this order.

    /// For changes of the structure: new L2 tables and refcount blocks, growing tables.
    let structureLock = AsyncMutex()
    /// For writing tables back.
    let commitLock = AsyncMutex()
    /// For rewriting the header.
    let headerLock = AsyncMutex()

    /// For those that wait until a part of a table is loaded or a slot can be taken.
    let slotQueue = WaitQueue()
    /// Set by a fatal corruption: nothing works from then on.
    let isBroken = Atomic<Bool>(false)
    /// Whether the dirty bit must be set before clusters are allocated.
    let mustMarkDirty = Atomic<Bool>(false)
    /// Whether the dirty bit was set by this program, so that it goes when everything has been written.
    let hasMarkedDirty = Atomic<Bool>(false)
    /// Drops unused parts of tables from time to time.
    private let cleaner = Mutex<Task<Void, Never>?>(nil)

    init(
        node: BlockNode, file: BlockChild, dataFile: BlockChild?, layout: Qcow2Layout,
        tables: consuming sending Qcow2Tables
    ) {
        self.node = node
        self.file = file
        self.dataFile = dataFile
        self.layout = layout
        geometry = layout.geometry
        self.tables = Mutex(tables)
        quarantine = Mutex(Quarantine())
    }

    deinit { cleaner.withLock { $0?.cancel() } }

    /// Gives back the memory of tables that are not used for the given number of seconds, as long as the image exists.
    func startCleaning(every seconds: Int64) {
        guard seconds > 0 else { return }
        let task = Task(executorPreference: IOLoop.main) { [weak self] in
            while (try? await IOLoop.sleep(for: .seconds(seconds))) != nil, let image = self {
                image.dropUnusedTables()
            }
        }
        cleaner.withLock { $0 = task }
    }

    /// Gives back the memory of tables that were not used since the last call and are as on disk.
    public func dropUnusedTables() {
        tables.withLock { tables in
            tables.l2.dropUnused()
            tables.refcounts.dropUnused()
        }
    }

    /// The header as it is on disk.
    public var header: Qcow2Header { tables.withLock { $0.header } }

    /// The length of the disk in bytes. From any thread.
    public var virtualSize: Int64 { tables.withLock { $0.header.virtualSize } }

    /// The options that hold.
    public var configuration: Qcow2Configuration { tables.withLock { $0.configuration } }

    /// The node that holds the guest's clusters. Constant but for drained sections.
    public var dataNode: BlockNode { (dataFile ?? file).node }

    /// Fires a debug event where somebody listens.
    func fire(_ event: DebugEvent) async {
        if let sink = file.node.driver.debugEventSink { await sink.debugEvent(event) }
    }

    /// ENOMEDIUM where a fatal corruption has been found.
    func checkUsable() throws(Errno) {
        if isBroken.load(ordering: .relaxed) { throw .ENOMEDIUM }
    }

    // MARK: Requests

    /// A guest request begins: what it finds in the tables stays usable until `endRequest`. Returns its epoch.
    public func beginRequest() -> Int { quarantine.withLock { $0.beginRequest() } }

    /// The request of an epoch uses nothing any more that it found in the tables.
    public func endRequest(_ epoch: Int) { quarantine.withLock { $0.endRequest(epoch) } }
}
