import BlockDrivers
import BlockGraph
import BlockJobs
import BlockNodes
import Compression
import IOLoop
import QAPI
import QMPSchema

/// Making images: `blockdev-create`.
extension StorageDaemon {
    func blockdevCreate(_ arguments: BlockdevCreateArguments) async throws(QMPError) {
        let body: CreateJob
        switch arguments.options.driver {
        case .file(let options): body = CreateJob(FileCreationOptions(options))
        case .qcow2(let options): body = CreateJob(options, factory: nodeFactory)
        default: throw QMPError("Driver does not support blockdev-create")
        }
        var options = Job.Options(id: arguments.jobId, type: .create)
        options.autoDismiss = false
        let job = options
        try await reporting { () async throws(BlockError) in jobs.start(try jobs.create(job, body: body)) }
    }
}

/// Makes a file or an image.
@GraphActor
private final class CreateJob: JobBody {
    private let create: @GraphActor () async throws(BlockError) -> Void

    init(_ options: FileCreationOptions) {
        create = { () async throws(BlockError) in try await FileCreator.create(options) }
    }

    init(_ options: BlockdevCreateOptionsQcow2, factory: NodeFactory) {
        create = { () async throws(BlockError) in
            try await factory.withNode(options.file) { (file) async throws(BlockError) in
                var creation = Qcow2CreationOptions(options)
                guard let reference = options.dataFile else {
                    return try await Qcow2Creator.create(creation, file: file)
                }
                try await factory.withNode(reference) { (dataFile) async throws(BlockError) in
                    creation.dataFileName = dataFile.driver.filename(of: dataFile)
                    try await Qcow2Creator.create(creation, file: file, dataFile: dataFile)
                }
            }
        }
    }

    func run(_ job: Job) async throws(BlockError) {
        job.setRemaining(1)
        defer { job.advance(by: 1) }
        try await create()
    }
}

extension NodeFactory {
    /// Calls the body with the node that a reference names, or one that it defines, which goes away again.
    fileprivate func withNode(
        _ reference: BlockdevRef, _ body: @GraphActor (BlockNode) async throws(BlockError) -> Void
    ) async throws(BlockError) {
        let node: BlockNode
        switch reference {
        case .reference(let name): node = try graph.requireNode(named: name)
        case .definition(let options): node = try await open(options, isRoot: false)
        }
        do {
            try await body(node)
        } catch {
            await graph.closeIfUnused(node)
            throw error
        }
        await graph.closeIfUnused(node)
    }
}

extension FileCreationOptions {
    /// What a client asks for.
    fileprivate init(_ options: BlockdevCreateOptionsFile) {
        self.init(filename: options.filename, size: options.size)
        preallocation = Preallocation(options.preallocation)
        isNoCopyOnWrite = options.nocow ?? false
        extentSizeHint = options.extentSizeHint ?? extentSizeHint
    }
}

extension Qcow2CreationOptions {
    /// What a client asks for.
    fileprivate init(_ options: BlockdevCreateOptionsQcow2) {
        self.init(size: options.size)
        version = options.version == .v2 ? 2 : 3
        backingFile = options.backingFile
        backingFormat = options.backingFmt?.rawValue
        clusterSize = options.clusterSize ?? clusterSize
        preallocation = Preallocation(options.preallocation)
        lazyRefcounts = options.lazyRefcounts ?? false
        refcountBits = options.refcountBits ?? refcountBits
        extendedL2 = options.extendedL2 ?? false
        dataFileRaw = options.dataFileRaw ?? false
        compressionType = options.compressionType == .zstd ? .zstd : .zlib
    }
}

extension Preallocation {
    /// What a client asks for; nothing where it does not say.
    fileprivate init(_ mode: PreallocMode?) {
        self =
            switch mode {
            case nil, .off: .off
            case .metadata: .metadata
            case .falloc: .falloc
            case .full: .full
            }
    }
}
