import BlockDrivers
import BlockGraph
import IOLoop

extension BackupJob {
    /// What a backup is made of.
    public struct Request: Sendable {
        /// The job's name and the like.
        public var job: Job.Options
        /// The node to copy.
        public var source: BlockNode
        /// The node to copy to.
        public var target: BlockNode
        /// How the work is done.
        public var options = Options()
        /// The bitmap that is brought up to date, and how.
        public var bitmap: (bitmap: DirtyBitmap, mode: BitmapMode)?
        /// Whether only what the bitmap has dirty is copied.
        public var copiesBitmapOnly = false
        /// The name of the filter; nil to make one up.
        public var filterName: String?
        /// What fails when old data cannot be copied before a guest write.
        public var onCopyError = CopyBeforeWriteConfiguration.OnError.breakGuestWrite
        /// The least size of a cluster in bytes; 0 for the usual one.
        public var minimumClusterSize: Int64 = 0
        /// The most bytes of one copy; 0 for the usual number.
        public var maximumChunk: Int64 = 0
        /// What the filter does for the job.
        public var filterOptions = CopyBeforeWriteConfiguration.JobOptions()

        /// A full backup with the usual options.
        public init(_ job: Job.Options, source: BlockNode, target: BlockNode) {
            self.job = job
            self.source = source
            self.target = target
        }
    }

    /// Makes the job of a backup, and puts its filter above the source: the point in time is the drained section of both nodes in
    /// which this is called, and in which `JobList.start` follows, or where that is not to be, `Job.cancel`.
    ///
    /// Errors: the filter cannot be opened or put there; a chunk is less than a cluster; the job cannot be made. Nothing is
    /// left of it then.
    public static func create(
        _ request: Request, in list: JobList, transaction: JobTransaction = JobTransaction()
    ) async throws(BlockError) -> Job {
        let (filter, driver) = try await insertFilter(request)
        var bitmap: SynchronisedBitmap?
        do throws(BlockError) {
            let clusterSize = driver.clusterSizeOfCopies
            guard request.maximumChunk == 0 || request.maximumChunk >= clusterSize else {
                throw BlockError(
                    """
                    Required max-chunk (\(request.maximumChunk)) is less than backup cluster size (\(clusterSize))
                    """)
            }
            bitmap = request.bitmap.map { SynchronisedBitmap($0.bitmap, of: request.source, mode: $0.mode) }
            let copy = BackgroundCopy(
                driver, of: request.copiesBitmapOnly ? bitmap?.bits : nil, maximumChunk: request.maximumChunk)
            let body = BackupJob(request.options, filter: filter, driver: driver, copy: copy, bitmap: bitmap)
            let job = try list.create(request.job, in: transaction, body: body)
            do throws(BlockError) {
                body.backend = try job.nodes.add(filter, as: "main node")
                try job.nodes.add(request.target, as: "target")
            } catch {
                await list.discard(job)
                throw error
            }
            return job
        } catch {
            bitmap?.giveBack()
            await driver.removeFilter(filter)
            throw error
        }
    }

    /// Opens the filter, and gives it the place of the source.
    private static func insertFilter(
        _ request: Request
    ) async throws(BlockError) -> (filter: BlockNode, driver: CopyBeforeWriteDriver) {
        var configuration = CopyBeforeWriteConfiguration(
            onError: request.onCopyError, minimumClusterSize: request.minimumClusterSize)
        configuration.job = request.filterOptions
        var options = NodeOptions()
        options.discard = .unmap
        let graph = request.source.graph
        var driver: CopyBeforeWriteDriver?
        let filter: BlockNode
        do throws(BlockError) {
            filter = try await graph.open(name: request.filterName, options: options) { (node) throws(BlockError) in
                let opened = try CopyBeforeWriteDriver.open(
                    configuration, in: node, source: request.source, target: request.target)
                driver = opened
                return opened
            }
        } catch {
            throw BlockError("Could not create node: \(error.description)")
        }
        guard let driver else { preconditionFailure("a filter without its driver") }
        do throws(BlockError) {
            try await graph.replace(request.source, by: filter)
        } catch {
            await graph.closeIfUnused(filter)
            throw error
        }
        return (filter, driver)
    }
}
