import CLiburing
import Glibc

/// An open file, device or socket of the process. A plain number: copying it opens nothing, dropping it closes
/// nothing; whoever opened it calls `close()` once.
///
/// The operations run on the ring of the calling thread's loop.
public struct FileDescriptor: Hashable, Sendable {
    /// The number that system calls take.
    public let rawValue: Int32

    /// Names an open file by its number.
    @inlinable
    public init(rawValue: Int32) {
        self.rawValue = rawValue
    }

    /// The most that one operation moves, as `read(2)` and `write(2)` limit it.
    static let transferLimit = 0x7fff_f000

    /// Opens the file at `path`, relative to the working directory, with the permissions `mode` if it makes it.
    ///
    /// Throws the errors of `open(2)`, and `EINVAL` for a path with a NUL.
    public static func open(
        _ path: String, _ flags: OpenFlags, mode: UInt32 = 0o644
    ) async throws(Errno) -> FileDescriptor {
        let name = try PathMemory(path)
        defer { name.free() }
        let result = await IOLoop.perform { entry in
            io_uring_prep_openat(entry, AT_FDCWD, name.bytes, flags.rawValue | O_CLOEXEC, mode)
        }
        return FileDescriptor(rawValue: Int32(try Errno.check(result)))
    }

    /// Closes the number, which may name another file from then on, even when this throws.
    ///
    /// Throws `EBADF`, and late write errors of some file systems (`EIO`, `ENOSPC`, `EDQUOT`).
    public func close() async throws(Errno) {
        _ = try Errno.check(await IOLoop.perform { io_uring_prep_close($0, rawValue) })
    }

    /// Closes the number at once, where no ring is at hand (a deinitializer, another thread). May block.
    public func closeNow() {
        _ = Glibc.close(rawValue)
    }

    /// Another number for the same open file, with `O_CLOEXEC`. Throws `EMFILE` and `EBADF`.
    public func duplicate() throws(Errno) -> FileDescriptor {
        FileDescriptor(rawValue: try Errno.checkCall(fcntl(rawValue, F_DUPFD_CLOEXEC, 0)))
    }

    /// Removes the name `path`; the file goes with its last name and descriptor. Throws the errors of `unlink(2)`.
    public static func unlink(_ path: String) async throws(Errno) {
        let name = try PathMemory(path)
        defer { name.free() }
        _ = try Errno.check(await IOLoop.perform { io_uring_prep_unlinkat($0, AT_FDCWD, name.bytes, 0) })
    }

    /// Gives the file at `old` the name `new`, replacing a file of that name. Throws the errors of `rename(2)`.
    public static func rename(_ old: String, to new: String) async throws(Errno) {
        let from = try PathMemory(old)
        defer { from.free() }
        let to = try PathMemory(new)
        defer { to.free() }
        _ = try Errno.check(
            await IOLoop.perform { io_uring_prep_renameat($0, AT_FDCWD, from.bytes, AT_FDCWD, to.bytes, 0) })
    }
}

/// A path in memory that stays in place while the kernel uses it.
struct PathMemory {
    let bytes: UnsafeMutablePointer<CChar>

    /// Throws `EINVAL` for a path with a NUL, which the kernel would cut off there.
    init(_ path: String) throws(Errno) {
        guard !path.utf8.contains(0) else { throw .EINVAL }
        guard let copy = strdup(path) else { throw .ENOMEM }
        bytes = copy
    }

    func free() { Glibc.free(bytes) }
}
