import BlockDrivers
import BlockGraph
import BlockNodes
import IOLoop
import QMPSchema

/// `rebase`: gives an image another backing file.
@GraphActor
struct RebaseCommand: ImageCommand {
    nonisolated static let name = "rebase"
    nonisolated static let summary = "gives an image another backing file"
    nonisolated static let help = """
        [-f FORMAT | --image-opts] [-t CACHE] [-b BACKING_FILE [-B BACKING_FORMAT] [-T CACHE]]
               [-u] [-c] [-U] [-p] [-q] [--object OBJECT] FILE
        Gives an image another backing file. What the image shows stays as it is: data in which the new backing image
        differs from the old one is copied into the image first.

          -f, --format FORMAT           the image's format; by default its start is looked at
              --image-opts              FILE is a list of options (key=value,...), not a name
          -t, --cache CACHE             how the image is cached (writeback)
          -b, --backing FILE            the new backing file; empty for none
          -B, --backing-format FORMAT   the format of the backing file (also -F)
          -T, --backing-cache CACHE     how backing images are cached (writeback)
          -u, --backing-unsafe          only change the name: the backing image has the same contents, or is not there
          -c, --compress                write compressed data
          -U, --force-share             the backing images may be in use
          -p, --progress                show the progress
          -q, --quiet                   print nothing but errors
              --object OBJECT           make an object that options refer to
        """
    nonisolated static let options: [CommandOption] =
        ImageSource.options + [
            .value("cache", "t"), .value("backing", "b"), .value("backing-format", "B"),
            .value(nil, "F", key: "backing-format"), .value("backing-cache", "T"), .flag("backing-unsafe", "u"),
            .flag("compress", "c"), .flag("progress", "p"), .flag("quiet", "q"), ObjectList.option,
        ]

    private var source = ImageSource()
    private var backing: String?
    private var backingFormat: String?
    private var backingCache = CacheMode.writeback
    private var isUnsafe = false
    private var isCompressed = false
    private var showsProgress = false
    private var isQuiet = false

    init(scanning scanner: OptionScanner, in session: ImageSession) throws(ToolFailure) {
        var caches: (image: String?, backing: String?) = (nil, nil)
        while let option = try scanner.next() {
            if source.take(option) { continue }
            switch option.key {
            case "cache": caches.image = option.value
            case "backing": backing = option.value
            case "backing-format": backingFormat = option.value
            case "backing-cache": caches.backing = option.value
            case "backing-unsafe": isUnsafe = true
            case "compress": isCompressed = true
            case "progress": showsProgress = true
            case "quiet": isQuiet = true
            case "object": try session.objects.add(option.value)
            default: break
            }
        }
        guard scanner.operands.count == 1 else { throw .usage("Expecting one image file name") }
        source.name = scanner.operands[0]
        guard isUnsafe || backing != nil else {
            throw .usage("Must specify backing file (-b) or use unsafe mode (-u)")
        }
        try source.check()
        if let cache = caches.image { source.cache = try CacheMode(cache) }
        if let cache = caches.backing { backingCache = try CacheMode(cache, what: "source cache option") }
    }

    func run(in session: ImageSession) async throws(ToolFailure) -> Int32 {
        var image = source
        image.forceShare = false
        let overlay = try await session.open(
            image, ImageAccess(isWritable: true, permissions: [.consistentRead, .write]), isUnsafe ? .top : .whole)
        if let format = backingFormat, BlockdevDriver(rawValue: format) == nil {
            throw ToolFailure("Invalid format name: '\(format)'")
        }
        if !isUnsafe { try await copyDifferences(to: overlay, in: session) }
        try await changeHeader(of: overlay, in: session)
        return 0
    }

    /// The failure of changing the header.
    private func failure(_ reason: String) -> ToolFailure {
        ToolFailure("Could not change the backing file to '\(backing ?? "")': \(reason)")
    }

    private func changeHeader(of image: OpenImage, in session: ImageSession) async throws(ToolFailure) {
        guard image.node.driver is Qcow2Driver else { throw failure("\(Errno.ENOTSUP)") }
        let name = backing ?? ""
        guard name.isEmpty || backingFormat != nil else { throw failure("backing format must be specified") }
        do {
            try await session.factory.changeBackingFile(of: image.node, to: name, format: backingFormat)
        } catch {
            throw failure(error.description)
        }
    }

    /// Copies what the new backing image does not have as the old one.
    private func copyDifferences(to overlay: OpenImage, in session: ImageSession) async throws(ToolFailure) {
        guard overlay.node.driver is Qcow2Driver else { return }
        guard let old = overlay.node.driver.backingChild?.node else { return }
        let new = try await openBacking(of: overlay, in: session)
        let oldBackend = try await failing { () async throws(BlockError) in
            try session.graph.attach(
                "the old backing image", to: old, permissions: PermissionPair(used: .consistentRead))
        }
        var progress = ProgressBar(isShown: showsProgress && !isQuiet)
        var copy = DifferenceCopy(
            overlay: overlay.backend, old: oldBackend, new: new?.backend, isCompressed: isCompressed)
        do throws(DifferenceCopy.Failure) {
            let length = overlay.length
            progress.update(done: 0, of: length)
            while copy.offset < length {
                try await copy.step()
                progress.update(done: copy.offset, of: length)
            }
        } catch {
            await session.graph.detach(oldBackend)
            switch error {
            case .status(let errno): throw ToolFailure("error while reading image metadata: \(errno)")
            case .readOld(let errno): throw ToolFailure("error while reading from old backing file: \(errno)")
            case .readNew(let errno): throw ToolFailure("error while reading from new backing file: \(errno)")
            case .write(let errno): throw ToolFailure("Error while writing to COW image: \(errno)")
            }
        }
        await session.graph.detach(oldBackend)
        if let new { await session.close(new) }
        progress.finish()
    }

    private func openBacking(of overlay: OpenImage, in session: ImageSession) async throws(ToolFailure) -> OpenImage? {
        guard let backing, !backing.isEmpty else { return nil }
        do {
            let name = try await failing { () async throws(BlockError) in
                try ImageName.resolve(backing, relativeTo: NodeDescription(overlay.node).filename)
            }
            var image = ImageSource(name, format: backingFormat)
            image.forceShare = source.forceShare
            image.cache = backingCache
            return try await session.open(image, ImageAccess(shared: [.consistentRead, .writeUnchanged]))
        } catch {
            // It is opened under its resolved name; messages have the one that was given.
            var failure = error
            let reason = error.message.flatMap { message in
                message.firstRange(of: "': ").map { String(message[$0.upperBound...]) }
            }
            failure.message = "Could not open new backing file '\(backing)': \(reason ?? error.message ?? "")"
            throw failure
        }
    }
}
