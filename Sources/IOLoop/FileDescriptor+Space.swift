import CLiburing
import Glibc

// A file's size, allocation and durability.
extension FileDescriptor {
    /// Makes everything written to the file durable, data and metadata. Throws the errors of `fsync(2)`: after an
    /// `EIO`, what was written before may be lost and a repeated call may succeed.
    public func fsync() async throws(Errno) {
        _ = try Errno.check(await IOLoop.perform { io_uring_prep_fsync($0, rawValue, 0) })
    }

    /// Makes all data written to the file durable, and the metadata to find it. Throws as `fsync()`.
    public func fdatasync() async throws(Errno) {
        let result = await IOLoop.perform { entry in
            io_uring_prep_fsync(entry, rawValue, UInt32(IORING_FSYNC_DATASYNC))
        }
        _ = try Errno.check(result)
    }

    /// Allocates, deallocates or zeroes `length` bytes from `offset`, as `mode` says.
    ///
    /// Throws the errors of `fallocate(2)`: `EOPNOTSUPP` when the file system cannot, `ENODEV` for what is neither a
    /// file nor a block device, `EINVAL` for a `length` of 0, `ENOSPC`.
    public func fallocate(_ mode: FallocateMode, offset: Int, length: Int) async throws(Errno) {
        while true {
            let result = await IOLoop.perform { entry in
                io_uring_prep_fallocate(entry, rawValue, mode.rawValue, off_t(offset), off_t(length))
            }
            if result == -EINTR { continue }
            _ = try Errno.check(result)
            return
        }
    }

    /// Makes the file `length` bytes long; what it grows by reads as zeroes. Throws the errors of `ftruncate(2)`.
    public func ftruncate(to length: Int) async throws(Errno) {
        let loop = IOLoop.required
        guard length >= 0 else { throw .EINVAL }
        guard loop.canTruncate else {
            _ = try Errno.checkCall(Glibc.ftruncate(rawValue, off_t(length)))
            return
        }
        _ = try Errno.check(await loop.perform { cairn_prep_ftruncate($0, rawValue, UInt64(length)) })
    }

    /// The first offset from `offset` on that may have data. Throws `ENXIO` when there is none until the end.
    ///
    /// A plain system call: the ring has none. The shared file position moves; operations at offsets do not use it.
    public func seekData(from offset: Int) throws(Errno) -> Int {
        try seek(to: offset, whence: 3)
    }

    /// The first offset from `offset` on that is in a hole, or the file's end. Throws `ENXIO` behind the end.
    public func seekHole(from offset: Int) throws(Errno) -> Int {
        try seek(to: offset, whence: 4)
    }

    /// The size of a file or block device in bytes. Throws `ESPIPE` for what has none.
    public func seekEnd() throws(Errno) -> Int {
        try seek(to: 0, whence: SEEK_END)
    }

    private func seek(to offset: Int, whence: Int32) throws(Errno) -> Int {
        let result = lseek(rawValue, off_t(offset), whence)
        if result == -1 { throw .current }
        return Int(result)
    }
}
