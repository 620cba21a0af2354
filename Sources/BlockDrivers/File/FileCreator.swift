import BlockGraph
import CLinuxShims
import IOLoop

/// What a new image file is to be like. The names are those of QMP's `BlockdevCreateOptionsFile`.
public struct FileCreationOptions: Hashable, Sendable {
    /// The path.
    public var filename: String
    /// The length in bytes.
    public var size: Int64
    /// What is allocated at once; `metadata` is refused, as a plain file has none.
    public var preallocation = Preallocation.off
    /// Whether the file system is not to copy the file's blocks on write (btrfs); without effect on others.
    public var isNoCopyOnWrite = false
    /// The least bytes that the file system is to allocate at a time (XFS), 0 to leave that to it; without effect on others.
    public var extentSizeHint: Int64 = 1 << 20

    /// The usual options for a file.
    public init(filename: String, size: Int64) {
        self.filename = filename
        self.size = size
    }
}

/// Makes image files.
public enum FileCreator {
    /// Makes a file, or takes one that is there and makes it empty first, and gives it its length.
    ///
    /// While that lasts the image lock is held, so that a file in use stays as it is.
    ///
    /// Errors: the options do not go together; the file cannot be made or is in use; there is not enough space. QEMU's words.
    public static func create(_ options: FileCreationOptions) async throws(BlockError) {
        guard let hint = UInt32(exactly: options.extentSizeHint) else {
            throw BlockError("Extent size hint is too large", errno: .EINVAL)
        }
        guard options.preallocation != .metadata else {
            throw BlockError("Unsupported preallocation mode: metadata", errno: .EINVAL)
        }
        let file: FileDescriptor
        do {
            file = try await FileDescriptor.open(options.filename, [.readWrite, .create], mode: 0o644)
        } catch {
            throw BlockError("Could not create '\(options.filename)'", causedBy: error)
        }
        do throws(BlockError) {
            if ImageLock.isSupported(on: file) {
                var lock = ImageLock(file: file)
                let permissions = PermissionPair(
                    used: [.write, .resize], shared: [.consistentRead, .write, .writeUnchanged])
                try lock.acquire(permissions, filename: options.filename)
            }
            try await fill(file, options, extentSizeHint: hint)
        } catch {
            file.closeNow()
            throw error
        }
        do {
            try await file.close()
        } catch {
            throw BlockError("Could not create '\(options.filename)'", causedBy: error)
        }
    }

    private static func fill(
        _ file: FileDescriptor, _ options: FileCreationOptions, extentSizeHint: UInt32
    ) async throws(BlockError) {
        do {
            try await file.ftruncate(to: 0)
            // Both are mere wishes, and have to come before the first block.
            if options.isNoCopyOnWrite { cairn_set_no_copy_on_write(file.rawValue) }
            if extentSizeHint > 0 { cairn_set_extent_size_hint(file.rawValue, extentSizeHint) }
            try await file.ftruncate(to: Int(options.size))
        } catch {
            throw BlockError("Could not resize file", causedBy: error)
        }
        guard options.size > 0 else { return }
        do {
            try await FileDriver.preallocate(file, 0..<options.size, mode: options.preallocation)
        } catch {
            try? await file.ftruncate(to: 0)  // What has been allocated is of no use; the first error counts.
            throw BlockError("Could not preallocate new data", causedBy: error)
        }
    }
}
