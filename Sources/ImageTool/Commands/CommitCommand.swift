import BlockDrivers
import BlockGraph
import BlockNodes
import IOLoop
import QMPSchema

/// `commit`: writes what an image has into an image of its backing chain.
@GraphActor
struct CommitCommand: ImageCommand {
    nonisolated static let name = "commit"
    nonisolated static let summary = "writes what an image has into its backing image"
    nonisolated static let help = """
        [-f FORMAT | --image-opts] [-t CACHE] [-b BASE] [-d] [-r RATE] [-p] [-q]
               [--object OBJECT] FILE
        Writes what an image has into its backing image, and makes the image empty.

          -f, --format FORMAT     the image's format; by default its start is looked at
              --image-opts        FILE is a list of options (key=value,...), not a name
          -t, --cache CACHE       how the images are cached (writeback)
          -b, --base BASE         the image of the backing chain that is written to; those between are committed, too,
                                  and are no good any more; implies -d
          -d, --drop              do not make the image empty
          -r, --rate-limit RATE   bytes per second
          -p, --progress          show the progress
          -q, --quiet             print nothing but errors
              --object OBJECT     make an object that options refer to
        """
    nonisolated static let options: [CommandOption] = [
        .value("format", "f"), .flag("image-opts"), .value("cache", "t"), .value("base", "b"), .flag("drop", "d"),
        .value("rate-limit", "r"), .flag("progress", "p"), .flag("quiet", "q"), ObjectList.option,
    ]

    private var source = ImageSource()
    private var base: String?
    private var drops = false
    private var copy = CopyConfiguration()
    private var showsProgress = false
    private var isQuiet = false

    init(scanning scanner: OptionScanner, in session: ImageSession) throws(ToolFailure) {
        var cache: String?
        while let option = try scanner.next() {
            if source.take(option) { continue }
            switch option.key {
            case "cache": cache = option.value
            case "base": (base, drops) = (option.value, true)
            case "drop": drops = true
            case "rate-limit": copy.bytesPerSecond = try Sizes.parse(option.value, what: "rate limit")
            case "progress": showsProgress = true
            case "quiet": isQuiet = true
            case "object": try session.objects.add(option.value)
            default: break
            }
        }
        guard scanner.operands.count == 1 else { throw .usage("Expecting one image file name") }
        source.name = scanner.operands[0]
        try source.check()
        if let cache { source.cache = try CacheMode(cache) }
    }

    func run(in session: ImageSession) async throws(ToolFailure) -> Int32 {
        let image = try await session.open(
            source, ImageAccess(isWritable: true, permissions: [.consistentRead, .write], passesDiscards: true))
        let target = try base(of: image)
        try await failing { () async throws(BlockError) in
            try await session.factory.withWriteAccess(to: target) { () async throws(BlockError) in
                try await commit(image, to: target, in: session)
            }
        }
        if !isQuiet { print("Image committed.") }
        return 0
    }

    /// The image that is written to.
    private func base(of image: OpenImage) throws(ToolFailure) -> BlockNode {
        let chain = image.node.graph.chain(below: image.node).dropFirst()
        guard let base else {
            guard let first = chain.first(where: { $0.driver.filteredChild == nil || $0.driver.driverName == "raw" })
            else { throw ToolFailure("Image does not have a backing file") }
            return first
        }
        let name = (try? ImageName.resolve(base, relativeTo: NodeDescription(image.node).filename)) ?? base
        guard let found = chain.first(where: { [name, base].contains(NodeDescription($0).filename) }) else {
            throw ToolFailure("Did not find '\(base)' in the backing chain of '\(source.name)'")
        }
        return found
    }

    private func commit(
        _ image: OpenImage, to target: BlockNode, in session: ImageSession
    ) async throws(BlockError) {
        let length = image.length
        if target.length < length {
            try await session.graph.drained([target]) { () async throws(BlockError) in
                try await target.resize(to: length, exact: false)
            }
        }
        let backend = try session.graph.attach(
            "the backing image", to: target, permissions: PermissionPair(used: [.consistentRead, .write]))
        do throws(BlockError) {
            try await copyData(from: image, to: backend)
            do throws(Errno) {
                try await backend.flush()
                if !drops, let driver = image.node.driver as? Qcow2Driver { try await driver.makeEmpty() }
            } catch {
                throw BlockError("Could not empty '\(source.name)'", causedBy: error)
            }
        } catch {
            await session.graph.detach(backend)
            throw error
        }
        await session.graph.detach(backend)
    }

    private func copyData(from image: OpenImage, to backend: BlockBackend) async throws(BlockError) {
        var configuration = copy
        configuration.hasTargetBacking = true
        let node = backend.node
        configuration.granularity = max(512, node.driver.clusterSize ?? 512)
        let sources = CopySources([(image.backend, node)])
        let progress = CopyProgress(isShown: showsProgress && !isQuiet)
        do throws(CopyError) {
            if showsProgress { try await progress.begin(sources, configuration) }
            let copier = ImageCopier(
                from: sources, to: backend, configuration, didCopy: { count in progress.add(count) })
            try await copier.run()
        } catch {
            throw BlockError("Block job failed: \(error.errno)", errno: error.errno)
        }
        progress.finish()
    }
}
