import BlockExports
import BlockGraph
import BlockJobs
import IOCommands
import IOLoop
import QAPI
import QMPSchema

/// A storage daemon: its block graph, objects and exports, and the commands that work on them.
///
/// The commands are in `Commands/`, one file per family. They run on the `GraphActor`, one after the other, whichever monitor
/// they come from; the QMP server sees to that.
@GraphActor
final class StorageDaemon {
    /// The block nodes.
    nonisolated let graph: BlockGraph
    /// The objects made with `object-add`.
    let objects = ObjectRegistry()
    /// The jobs.
    let jobs: JobList
    /// The exports.
    let exports: BlockExportList
    /// What `human-monitor-command` runs; results of `qemu-io` go to standard output.
    let humanMonitor: HumanMonitor
    /// The server of NBD exports.
    let nbdServer: NBDServer
    /// Where the events go.
    nonisolated let events: EventHub

    private nonisolated let quitting = WaitQueue()
    private var isQuitting = false

    /// A daemon without nodes. Its events go to the hub, which monitors join.
    init() {
        let events = EventHub()
        self.events = events
        graph = BlockGraph { event in events.emit(QMPEvent(event)) }
        jobs = JobList { event in events.emit(QMPEvent(event)) }
        exports = BlockExportList { id in events.emit(.blockExportDeleted(BlockExportDeletedEvent(id: id))) }
        nbdServer = NBDServer(exports: exports)
        humanMonitor = HumanMonitor(graph: graph) { text in print(text, terminator: "") }
        // What a guest sees: filters of jobs included.
        humanMonitor.deviceNode = { [exports] id in exports[id]?.node }
    }

    /// Asks the daemon to end; `waitForQuit` returns.
    func requestQuit() {
        isQuitting = true
        quitting.notifyAll()
    }

    /// Ends all exports and closes all nodes; what was written is durable then.
    func shutDown() async {
        graph.letEverythingThrough()
        await jobs.cancelAll()
        await exports.removeAll()
        if nbdServer.isRunning { try? await nbdServer.stop() }  // It was running: there is nothing else to fail.
        await graph.closeAll()
        objects.removeAll()
    }

    /// Returns when somebody has asked the daemon to end.
    func waitForQuit() async {
        await quitting.wait(until: { isQuitting })
    }
}

extension StorageDaemon: QMPCommandHandler {}

extension QMPError {
    /// The error of the block layer as a client sees it.
    init(_ error: BlockError) {
        switch error.kind {
        case .generic: self.init(.genericError, error.description, hint: error.hint)
        case .deviceNotFound: self.init(.deviceNotFound, error.description, hint: error.hint)
        }
    }

    /// The error of a dirty bitmap as a client sees it.
    init(_ error: BitmapError) { self.init(error.description) }
}

/// Runs a block layer operation in a command: its error becomes the command's.
func reporting<Result>(
    _ body: () async throws(BlockError) -> Result
) async throws(QMPError) -> Result {
    do {
        return try await body()
    } catch {
        throw QMPError(error)
    }
}
