import BlockGraph
import CLinuxShims
import IOLoop

extension FileDriver {
    /// Opens the file for a node: for reading only where the node is `auto-read-only`, until a parent wants to write.
    ///
    /// Errors: the file cannot be opened; it is not of the driver's kind; the image lock is not to be had.
    @GraphActor
    public static func open(
        _ configuration: FileConfiguration, in node: BlockNode
    ) async throws(BlockError) -> FileDriver {
        guard !configuration.filename.isEmpty else {
            throw BlockError("The '\(configuration.kind.rawValue)' block driver requires a file name")
        }
        let options = node.options
        let isWritable = !options.isReadOnly && !options.isAutoReadOnly
        let file: FileDescriptor
        do {
            file = try await open(configuration.filename, writable: isWritable, direct: options.cacheDirect)
        } catch {
            throw BlockError("Could not open '\(configuration.filename)'", causedBy: error)
        }
        do {
            let byteCount = try await checkKind(of: file, configuration)
            let lock = try openLock(of: file, configuration, options)
            let limits = await limits(of: file, direct: options.cacheDirect)
            return FileDriver(
                configuration: configuration, file: file, isWritable: isWritable, byteCount: byteCount, limits: limits,
                lock: lock)
        } catch {
            file.closeNow()
            throw error
        }
    }

    private static func open(
        _ path: String, writable: Bool, direct: Bool
    ) async throws(Errno) -> FileDescriptor {
        var flags: OpenFlags = writable ? .readWrite : .readOnly
        if direct { flags.insert(.direct) }
        return try await FileDescriptor.open(path, flags)
    }

    /// Opens what a descriptor names once more, by its number, so that a renamed file stays the same file.
    static func reopen(_ file: FileDescriptor, writable: Bool, direct: Bool) throws(Errno) -> FileDescriptor {
        let number = cairn_reopen(file.rawValue, writable, direct)
        guard number >= 0 else { throw Errno(rawValue: -number) }
        return FileDescriptor(rawValue: number)
    }

    /// The file's length, after a look at what it is.
    private static func checkKind(
        of file: FileDescriptor, _ configuration: FileConfiguration
    ) async throws(BlockError) -> Int64 {
        let status: FileStatus
        let size: Int
        do {
            status = try await file.statx()
            size = status.kind == .regular ? status.size : max(0, (try? file.seekEnd()) ?? 0)
        } catch {
            throw BlockError("Could not stat file", causedBy: error)
        }
        switch (configuration.kind, status.kind) {
        case (.file, .regular), (.hostDevice, .blockDevice), (.hostDevice, .characterDevice): return Int64(size)
        case (.file, _):
            throw BlockError("'file' driver requires '\(configuration.filename)' to be a regular file")
        case (.hostDevice, _):
            throw BlockError(
                "'host_device' driver requires '\(configuration.filename)' to be either a character or block device")
        }
    }

    /// The locks of the file, on a description of their own that no other use of the file replaces.
    private static func openLock(
        of file: FileDescriptor, _ configuration: FileConfiguration, _ options: NodeOptions
    ) throws(BlockError) -> ImageLock? {
        guard configuration.locking != .off else { return nil }
        guard let file = try? reopen(file, writable: false, direct: false) else {
            // Without the right to read there is no lock to be had.
            guard configuration.locking == .auto else {
                throw BlockError("File lock is not supported on this platform")
            }
            return nil
        }
        if ImageLock.isSupported(on: file) { return ImageLock(file: file) }
        file.closeNow()
        guard configuration.locking == .auto else { throw BlockError("File lock is not supported on this platform") }
        return nil
    }

    /// The alignment that direct I/O to the file needs; none with the page cache.
    static func limits(of file: FileDescriptor, direct: Bool) async -> BlockLimits {
        var limits = BlockLimits()
        limits.maximumTransfer = 1 << 30
        guard direct else { return limits }
        let status = try? await file.statx()
        limits.requestAlignment = Int64(max(512, status?.directOffsetAlignment ?? 0))
        limits.memoryAlignment = max(512, status?.directMemoryAlignment ?? 0)
        if status?.directOffsetAlignment ?? 0 == 0 {
            // The file system does not tell: a page suits all.
            limits.requestAlignment = 4096
            limits.memoryAlignment = 4096
        }
        limits.writeZeroesAlignment = limits.requestAlignment
        limits.discardAlignment = limits.requestAlignment
        return limits
    }
}
