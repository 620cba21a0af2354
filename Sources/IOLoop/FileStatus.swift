import CLiburing
import Glibc

/// What the file system says of a file, as `statx(2)`.
public struct FileStatus: Hashable, Sendable {
    /// What a name can stand for.
    public enum Kind: Hashable, Sendable {
        /// A regular file.
        case regular
        /// A directory.
        case directory
        /// A block device.
        case blockDevice
        /// A character device.
        case characterDevice
        /// A pipe.
        case pipe
        /// A socket.
        case socket
        /// A symbolic link.
        case symbolicLink
        /// Something newer than this list.
        case other
    }

    /// What it is.
    public let kind: Kind
    /// The permission bits, with set-user-ID, set-group-ID and sticky bit.
    public let permissions: UInt16
    /// The size in bytes; 0 for a device.
    public let size: Int
    /// The space that the file occupies, in bytes.
    public let allocatedSize: Int
    /// The preferred size of a request, in bytes.
    public let blockSize: Int
    /// The number of the file within its file system.
    public let inode: UInt64
    /// The device of the file system, major number in the upper and minor number in the lower half.
    public let device: UInt64
    /// The last change of the contents, in nanoseconds since 1970.
    public let modificationTime: Int
    /// The alignment of memory for `OpenFlags.direct`, in bytes; 0 when the file does not support it or says nothing.
    public let directMemoryAlignment: Int
    /// The alignment of offsets and lengths for `OpenFlags.direct`, in bytes; 0 as above.
    public let directOffsetAlignment: Int

    init(_ bytes: UnsafeRawPointer) {
        // Offsets of struct statx, linux/stat.h: newer fields than the C library's header has.
        let mode = bytes.load(fromByteOffset: 28, as: UInt16.self)
        kind = FileStatus.kind(mode)
        permissions = mode & 0o7777
        blockSize = Int(bytes.load(fromByteOffset: 4, as: UInt32.self))
        inode = bytes.load(fromByteOffset: 32, as: UInt64.self)
        size = Int(truncatingIfNeeded: bytes.load(fromByteOffset: 40, as: UInt64.self))
        allocatedSize = Int(truncatingIfNeeded: bytes.load(fromByteOffset: 48, as: UInt64.self) &* 512)
        let seconds = Int(bytes.load(fromByteOffset: 112, as: Int64.self))
        let nanoseconds = Int(bytes.load(fromByteOffset: 120, as: UInt32.self))
        modificationTime = seconds &* 1_000_000_000 &+ nanoseconds
        let major = UInt64(bytes.load(fromByteOffset: 136, as: UInt32.self))
        device = major << 32 | UInt64(bytes.load(fromByteOffset: 140, as: UInt32.self))
        directMemoryAlignment = Int(bytes.load(fromByteOffset: 152, as: UInt32.self))
        directOffsetAlignment = Int(bytes.load(fromByteOffset: 156, as: UInt32.self))
    }

    private static func kind(_ mode: UInt16) -> Kind {
        switch mode & 0o170000 {
        case 0o100000: .regular
        case 0o040000: .directory
        case 0o060000: .blockDevice
        case 0o020000: .characterDevice
        case 0o010000: .pipe
        case 0o140000: .socket
        case 0o120000: .symbolicLink
        default: .other
        }
    }
}

extension FileDescriptor {
    /// The status of the open file. Throws the errors of `statx(2)`.
    public func statx() async throws(Errno) -> FileStatus {
        let emptyPath: Int32 = 0x1000  // AT_EMPTY_PATH
        return try await FileDescriptor.statx(rawValue, "", emptyPath)
    }

    /// The status of the file at `path`, or of the symbolic link itself when `followingLinks` is false.
    ///
    /// Throws the errors of `statx(2)`, and `EINVAL` for a path with a NUL.
    public static func statx(_ path: String, followingLinks: Bool = true) async throws(Errno) -> FileStatus {
        try await statx(AT_FDCWD, path, followingLinks ? 0 : AT_SYMLINK_NOFOLLOW)
    }

    private static func statx(_ directory: Int32, _ path: String, _ flags: Int32) async throws(Errno) -> FileStatus {
        let name = try PathMemory(path)
        defer { name.free() }
        let memory = UnsafeMutableRawPointer.allocate(byteCount: 256, alignment: 8)
        defer { memory.deallocate() }
        memset(memory, 0, 256)
        // STATX_BASIC_STATS and STATX_DIOALIGN.
        let mask: UInt32 = 0x7ff | 0x2000
        let result = await IOLoop.perform { entry in
            io_uring_prep_rw(
                Int32(IORING_OP_STATX.rawValue), entry, directory, name.bytes, mask,
                UInt64(UInt(bitPattern: memory)))
            entry.pointee.statx_flags = UInt32(bitPattern: flags)
        }
        _ = try Errno.check(result)
        return FileStatus(memory)
    }
}
