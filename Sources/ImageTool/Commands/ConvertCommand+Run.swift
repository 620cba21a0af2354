import BlockDrivers
import BlockGraph
import BlockNodes
import IOLoop

extension ConvertCommand {
    func run(in session: ImageSession) async throws(ToolFailure) -> Int32 {
        let format = targetFormat ?? "raw"
        var list = OptionList()
        for text in creationOptions { try list.add(text) }
        if list.asksForHelp, !skipsCreation {
            print(try ImageCreation.help(for: format, hasFile: true), terminator: "")
            return 0
        }
        let images = try await openSources(in: session)
        if let snapshot { try await show(SnapshotChoice(snapshot), of: images) }
        if copiesBitmaps { try checkBitmaps(of: images) }
        var sources = CopySources(images.map { ($0.backend, nil) })
        let creation = skipsCreation ? nil : try newImage(of: format, size: sources.length)
        if let creation { try await create(creation, in: session) }
        let image = try await openTarget(in: session)
        try await checkTarget(image, sources)
        var configuration = configuration(for: image, creation)
        if configuration.hasTargetBacking {
            sources = CopySources(images.map { ($0.backend, commonBase(of: $0.node, image.node)) })
        }
        if skipsCreation, !targetIsZero, !configuration.hasTargetBacking, !configuration.isTargetZero {
            configuration.isTargetZero = await clear(image, sources.length)
        }
        try await copy(sources, to: image, configuration)
        if copiesBitmaps { try await copyBitmaps(from: images[0].node, to: image.node, in: session) }
        return 0
    }

    // MARK: Sources

    private func openSources(in session: ImageSession) async throws(ToolFailure) -> [OpenImage] {
        var images: [OpenImage] = []
        let access = ImageAccess(shared: [.consistentRead, .writeUnchanged])
        for name in names { images.append(try await session.open(source.named(name), access)) }
        return images
    }

    /// Lets the source read as one of its snapshots.
    private func show(_ choice: SnapshotChoice, of images: [OpenImage]) async throws(ToolFailure) {
        guard images.count == 1, let image = images.first else {
            throw ToolFailure("No support for concatenating multiple snapshot")
        }
        let failure = "Failed to load snapshot"
        guard let (_, store) = image.node.snapshotStore else {
            throw ToolFailure(
                """
                \(failure): Block format '\(image.node.driver.driverName)' used by device '' does not support temporarily loading \
                internal snapshots
                """)
        }
        let snapshots: [InternalSnapshot] = (try? store.list()) ?? []
        guard let snapshot = choice.find(in: snapshots) else { throw ToolFailure("\(failure): Can't find snapshot") }
        try await failing(failure) { () async throws(BlockError) in try await store.show(id: snapshot.id) }
    }

    // MARK: Target

    /// What is to be made. Failures: options do not go together, or with the format.
    private func newImage(of format: String, size: Int64) throws(ToolFailure) -> ImageCreation {
        var creation = try ImageCreation(format: format, options: creationOptions)
        creation.size = size
        try creation.setBacking(file: backingFile, format: backingFormat)
        if creation.backingFile != nil, creation.backingFormat == nil {
            throw ToolFailure("Use of backing file requires explicit backing format")
        }
        if isCompressed {
            guard creation.options.knows("compression_type") else {
                throw ToolFailure("Compression not supported for this file format")
            }
            if creation.value(of: "encryption") == "on" || creation.value(of: "encrypt.format") != nil {
                throw ToolFailure("Compression and encryption not supported at the same time")
            }
            if (creation.value(of: "preallocation") ?? "off") != "off" {
                throw ToolFailure("Compression and preallocation not supported at the same time")
            }
        }
        return creation
    }

    private func create(_ creation: ImageCreation, in session: ImageSession) async throws(ToolFailure) {
        try await failing("\(target): error while converting \(creation.format)") { () async throws(BlockError) in
            try await creation.create(at: target, in: session)
        }
    }

    private func openTarget(in session: ImageSession) async throws(ToolFailure) -> OpenImage {
        var image = ImageSource(target, format: targetIsOptions ? nil : targetFormat ?? "raw")
        image.isOptions = targetIsOptions
        image.cache = targetCache
        return try await session.open(
            image, ImageAccess(isWritable: true, permissions: [.consistentRead, .write], passesDiscards: true))
    }

    private func checkTarget(_ image: OpenImage, _ sources: CopySources) async throws(ToolFailure) {
        if isCompressed, !image.node.driver.supportedWriteFlags.contains(.compressed) {
            throw ToolFailure("Compression not supported for this file format")
        }
        if copiesBitmaps,
            (try? image.node.driver.bitmapStore?.checkStorable(name: "x", granularity: 65536, in: image.node)) == nil
        {
            throw ToolFailure("Format driver '\(image.node.driver.driverName)' does not support bitmaps")
        }
        guard image.length.alignedUp(to: 512) >= sources.length else {
            throw ToolFailure("output file is smaller than input file")
        }
    }

    private func configuration(for image: OpenImage, _ creation: ImageCreation?) -> CopyConfiguration {
        var configuration = copy
        configuration.isCompressed = isCompressed
        let node = image.node
        configuration.granularity = max(512, node.driver.limits.requestAlignment)
        if let size = node.driver.clusterSize { configuration.granularity = max(configuration.granularity, size) }
        configuration.hasTargetBacking = backingFile != nil || creation?.backingFile != nil
        let isPreallocated = creation?.value(of: "preallocation") == "full"
        configuration.isTargetZero =
            !configuration.hasTargetBacking && (targetIsZero || (creation != nil && !isPreallocated))
        return configuration
    }

    /// The layer at which the source and the target's backing chain meet, nil where they have no file in common.
    private func commonBase(of source: BlockNode, _ target: BlockNode) -> BlockNode? {
        guard let backing = target.driver.backingChild?.node else { return nil }
        let name = NodeDescription(backing).filename
        var layer = source.driver.filteredChild?.node ?? source
        while let next = layer.driver.backingChild?.node {
            if NodeDescription(next).filename == name { return next }
            layer = next
        }
        // What the source's topmost layer does not have is taken to be in the target's backing image.
        return source.driver.backingChild?.node
    }

    /// Makes the target zero where that is quick; whether it is.
    private func clear(_ image: OpenImage, _ length: Int64) async -> Bool {
        do throws(Errno) {
            try await image.backend.writeZeroes(0..<min(length, image.length), flags: [.mayUnmap, .noFallback])
            return true
        } catch {
            return false
        }
    }

    // MARK: Data

    private func copy(
        _ sources: CopySources, to image: OpenImage, _ configuration: CopyConfiguration
    ) async throws(ToolFailure) {
        let progress = CopyProgress(isShown: showsProgress && !isQuiet)
        do throws(CopyError) {
            if showsProgress { try await progress.begin(sources, configuration) }
            let copier = ImageCopier(
                from: sources, to: image.backend, configuration,
                didCopy: { count in progress.add(count) },
                didSalvage: { [isQuiet] offset, error in
                    if !isQuiet { printWarning("error while reading offset \(offset): \(error)") }
                })
            try await copier.run()
            progress.finish()
        } catch {
            switch error.step {
            case .status(let offset):
                throw ToolFailure("error while reading block status at offset \(offset): \(error.errno)")
            case .read(let offset): throw ToolFailure("error while reading at byte \(offset): \(error.errno)")
            case .write(let offset): throw ToolFailure("error while writing at byte \(offset): \(error.errno)")
            }
        }
    }
}
