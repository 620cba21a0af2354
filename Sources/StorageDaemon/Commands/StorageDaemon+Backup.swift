import BlockDrivers
import BlockGraph
import BlockJobs
import BlockNodes
import IOLoop
import QAPI
import QMPSchema

/// Backups: `blockdev-backup`.
extension StorageDaemon {
    func blockdevBackup(_ arguments: BlockdevBackup) async throws(QMPError) {
        let action = BackupAction(arguments, in: JobTransaction(), daemon: self)
        try await Transaction(graph: graph, actions: [action]).run()
    }

    /// The nodes that a backup is about, source and target, to be drained while its job is made and started.
    func backupNodes(_ arguments: BlockdevBackup) throws(BlockError) -> [BlockNode] {
        [try graph.requireNode(named: arguments.device), try graph.requireNode(named: arguments.target)]
    }

    /// Makes the job of a backup without starting it, in a drained section of its nodes: see `BackupJob.create`.
    func makeBackup(_ arguments: BlockdevBackup, in transaction: JobTransaction) async throws(BlockError) -> Job {
        let nodes = try backupNodes(arguments)
        return try await makeBackup(
            BackupCommon(arguments), source: nodes[0], target: nodes[1], in: transaction)
    }

    /// Makes the job of a backup from one node to another, without starting it.
    func makeBackup(
        _ arguments: BackupCommon, source: BlockNode, target: BlockNode, in transaction: JobTransaction
    ) async throws(BlockError) -> Job {
        let bitmap = try synchronisedBitmap(arguments, of: source)
        if source === target { throw BlockError("Source and target cannot be the same") }
        if arguments.compress == true, !target.takesCompressedData {
            throw BlockError("Compression is not supported for this drive ")
        }
        try source.checkNotBlocked(for: .backupSource)
        try target.checkNotBlocked(for: .backupTarget)
        let tuning = try BackupTuning(arguments.xPerf)
        guard source.length.alignedUp(to: 512) == target.length.alignedUp(to: 512) else {
            throw BlockError("Source and target image have different sizes")
        }
        let job = Job.Options(
            blockJob: arguments.jobId, .backup, speed: arguments.speed, autoFinalize: arguments.autoFinalize,
            autoDismiss: arguments.autoDismiss)
        var request = BackupJob.Request(job, source: source, target: target)
        request.options.sync = BackupJob.Sync(arguments.sync)
        request.options.onSourceError = arguments.onSourceError.map(JobErrorPolicy.init) ?? .report
        request.options.onTargetError = arguments.onTargetError.map(JobErrorPolicy.init) ?? .report
        request.options.maximumWorkers = tuning.maximumWorkers
        request.maximumChunk = tuning.maximumChunk
        request.minimumClusterSize = try tuning.minimumClusterSize
        request.bitmap = bitmap
        request.copiesBitmapOnly = arguments.sync == .bitmap || arguments.sync == .incremental
        request.filterName = arguments.filterNodeName
        request.onCopyError = arguments.onCbwError == .breakSnapshot ? .breakSnapshot : .breakGuestWrite
        request.filterOptions.isCompressed = arguments.compress ?? false
        request.filterOptions.discardsSource = arguments.discardSource ?? false
        return try await BackupJob.create(request, in: jobs, transaction: transaction)
    }

    /// The bitmap that a backup brings up to date, and how. Errors: the arguments do not go together; it is in use.
    private func synchronisedBitmap(
        _ arguments: BackupCommon, of source: BlockNode
    ) throws(BlockError) -> (bitmap: DirtyBitmap, mode: BackupJob.BitmapMode)? {
        let sync = arguments.sync
        guard let name = arguments.bitmap else {
            if sync == .bitmap || sync == .incremental {
                throw BlockError("must provide a valid bitmap name for '\(sync.rawValue)' sync mode")
            }
            guard arguments.bitmapMode == nil else {
                throw BlockError("Cannot specify bitmap sync mode without a bitmap")
            }
            return nil
        }
        if sync == .incremental, arguments.bitmapMode ?? .onSuccess != .onSuccess {
            throw BlockError("Bitmap sync mode must be 'on-success' when using sync mode 'incremental'")
        }
        guard let bitmap = source.bitmaps.bitmap(named: name) else {
            throw BlockError("Bitmap '\(name)' could not be found")
        }
        guard let mode = arguments.bitmapMode ?? (sync == .incremental ? .onSuccess : nil) else {
            throw BlockError("Bitmap sync mode must be given when providing a bitmap")
        }
        if sync == .none { throw BlockError("sync mode 'none' does not produce meaningful bitmap outputs") }
        if mode == .never, sync == .full || sync == .top {
            throw BlockError(
                """
                Bitmap sync mode 'never' has no meaningful effect when combined with sync mode '\(sync.rawValue)'
                """)
        }
        do {
            try bitmap.require(no: mode == .never ? .toUse : .toChange)
        } catch {
            throw BlockError(error)
        }
        return (bitmap, BackupJob.BitmapMode(mode))
    }
}

/// How a backup works.
private struct BackupTuning {
    let maximumWorkers: Int
    let maximumChunk: Int64
    private let clusterSize: UInt64

    /// Errors: a number is out of its range.
    init(_ options: BackupPerf?) throws(BlockError) {
        let workers = options?.maxWorkers ?? 64
        guard workers >= 1, workers <= Int64(Int32.max) else {
            throw BlockError("max-workers must be between 1 and \(Int32.max)")
        }
        maximumWorkers = Int(workers)
        maximumChunk = options?.maxChunk ?? 0
        guard maximumChunk >= 0 else {
            throw BlockError("max-chunk must be zero (which means no limit) or positive")
        }
        clusterSize = options?.minClusterSize ?? 0
    }

    /// The least size of a cluster in bytes. Error: it is out of range.
    var minimumClusterSize: Int64 {
        get throws(BlockError) {
            guard let size = Int64(exactly: clusterSize) else {
                throw BlockError("min-cluster-size too large: \(clusterSize) > \(Int64.max)")
            }
            return size
        }
    }
}

extension BlockNode {
    /// Whether data can be written in compressed form, through filters as well.
    fileprivate var takesCompressedData: Bool {
        driver.supportedWriteFlags.contains(.compressed) || driver.filteredChild?.node.takesCompressedData ?? false
    }
}

extension BackupJob.Sync {
    /// What a client asks for.
    fileprivate init(_ mode: MirrorSyncMode) {
        self =
            switch mode {
            case .full, .incremental, .bitmap: .all
            case .top: .top
            case .none: .none
            }
    }
}

extension BackupJob.BitmapMode {
    /// What a client asks for.
    fileprivate init(_ mode: BitmapSyncMode) {
        self =
            switch mode {
            case .onSuccess: .onSuccess
            case .never: .never
            case .always: .always
            }
    }
}

extension BackupCommon {
    /// What backups of all kinds are told.
    init(_ backup: BlockdevBackup) {
        self.init(
            jobId: backup.jobId, device: backup.device, sync: backup.sync, speed: backup.speed, bitmap: backup.bitmap,
            bitmapMode: backup.bitmapMode, compress: backup.compress, onSourceError: backup.onSourceError,
            onTargetError: backup.onTargetError, onCbwError: backup.onCbwError, autoFinalize: backup.autoFinalize,
            autoDismiss: backup.autoDismiss, filterNodeName: backup.filterNodeName,
            discardSource: backup.discardSource, xPerf: backup.xPerf)
    }

    /// What backups of all kinds are told.
    init(_ backup: DriveBackup) {
        self.init(
            jobId: backup.jobId, device: backup.device, sync: backup.sync, speed: backup.speed, bitmap: backup.bitmap,
            bitmapMode: backup.bitmapMode, compress: backup.compress, onSourceError: backup.onSourceError,
            onTargetError: backup.onTargetError, onCbwError: backup.onCbwError, autoFinalize: backup.autoFinalize,
            autoDismiss: backup.autoDismiss, filterNodeName: backup.filterNodeName,
            discardSource: backup.discardSource, xPerf: backup.xPerf)
    }
}
