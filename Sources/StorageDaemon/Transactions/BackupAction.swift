import BlockGraph
import BlockJobs
import IOLoop
import QAPI
import QMPSchema

/// `blockdev-backup` and `drive-backup`. The job is made with the other actions, so that its point in time is theirs, and starts
/// when all have succeeded.
final class BackupAction: UndoableAction {
    private let daemon: StorageDaemon
    private let names: [String]
    private let make: @GraphActor () async throws(BlockError) -> Job
    private var job: Job?

    /// An action whose job belongs to the group.
    init(_ arguments: BlockdevBackup, in group: JobTransaction, daemon: StorageDaemon) {
        self.daemon = daemon
        names = [arguments.device, arguments.target]
        make = { () async throws(BlockError) in try await daemon.makeBackup(arguments, in: group) }
    }

    /// An action whose job belongs to the group.
    init(_ arguments: DriveBackup, in group: JobTransaction, daemon: StorageDaemon) {
        self.daemon = daemon
        names = [arguments.device]
        make = { () async throws(BlockError) in try await daemon.makeDriveBackup(arguments, in: group) }
    }

    let startsJob = true

    var nodes: [BlockNode] { names.flatMap(daemon.graph.nodes(named:)) }

    func prepare() async throws(QMPError) {
        job = try await reporting { () async throws(BlockError) in try await make() }
    }

    func commit() async {
        if let job { daemon.jobs.start(job) }
    }

    /// A job that has not started ends at once.
    func abort() async { try? await job?.cancel(force: true) }
}
