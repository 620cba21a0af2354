import CLiburing
import Glibc

// Reads and writes at an offset. They are not cancelled: a cancelled task waits for them to end.
extension FileDescriptor {
    /// Reads from `offset` into the start of `buffer`.
    ///
    /// - Returns: bytes read, from 1 to the buffer's size, or 0 at the end of the file or for an empty buffer.
    ///
    /// Throws the errors of `pread(2)`.
    public func read(into buffer: IOBuffer, at offset: Int) async throws(Errno) -> Int {
        let result = await IOLoop.perform { entry in
            io_uring_prep_read(
                entry, rawValue, buffer.base, UInt32(min(buffer.count, FileDescriptor.transferLimit)),
                UInt64(bitPattern: Int64(offset)))
        }
        return try Errno.check(result)
    }

    /// Writes from the start of `buffer` to `offset`.
    ///
    /// - Returns: bytes written, from 1 to the buffer's size, or 0 for an empty buffer.
    ///
    /// Throws the errors of `pwrite(2)`.
    public func write(from buffer: IOBuffer, at offset: Int) async throws(Errno) -> Int {
        let result = await IOLoop.perform { entry in
            io_uring_prep_write(
                entry, rawValue, buffer.base, UInt32(min(buffer.count, FileDescriptor.transferLimit)),
                UInt64(bitPattern: Int64(offset)))
        }
        return try Errno.check(result)
    }

    /// Reads from `offset` until `buffer` is full or the file ends.
    ///
    /// - Returns: bytes read; less than the buffer's size only at the end of the file, and the rest of the buffer is
    ///   as it was.
    ///
    /// Throws the errors of `pread(2)`; the buffer's contents are then unspecified.
    public func readFully(into buffer: IOBuffer, at offset: Int) async throws(Errno) -> Int {
        var done = 0
        while done < buffer.count {
            let count: Int
            do {
                count = try await read(into: done == 0 ? buffer : buffer[done...], at: offset + done)
            } catch .EINTR {
                continue
            }
            if count == 0 { break }
            done += count
        }
        return done
    }

    /// Writes all of `buffer` to `offset`; in the file, not yet durable, on return.
    ///
    /// Throws the errors of `pwrite(2)`, and `ENOSPC` when a device takes no more; some of it may then be written.
    public func writeFully(from buffer: IOBuffer, at offset: Int) async throws(Errno) {
        var done = 0
        while done < buffer.count {
            let count: Int
            do {
                count = try await write(from: done == 0 ? buffer : buffer[done...], at: offset + done)
            } catch .EINTR {
                continue
            }
            if count == 0 { throw .ENOSPC }
            done += count
        }
    }

    /// Reads from `offset` into `buffers`, one after the other; the first 64 that are not empty.
    ///
    /// - Returns: bytes read, 0 at the end of the file.
    ///
    /// Throws the errors of `preadv(2)`.
    public func readv(into buffers: [IOBuffer], at offset: Int, skipping skipped: Int = 0) async throws(Errno) -> Int {
        let loop = IOLoop.required
        let block = loop.messages.take()
        defer { loop.messages.give(block) }
        let count = block.fill(buffers, skipping: skipped)
        let result = await loop.perform { entry in
            io_uring_prep_readv(entry, rawValue, block.vectors, UInt32(count), UInt64(bitPattern: Int64(offset)))
        }
        return try Errno.check(result)
    }

    /// Writes `buffers`, one after the other, to `offset`; the first 64 that are not empty.
    ///
    /// - Returns: bytes written. Throws the errors of `pwritev(2)`.
    public func writev(from buffers: [IOBuffer], at offset: Int, skipping skipped: Int = 0) async throws(Errno) -> Int {
        let loop = IOLoop.required
        let block = loop.messages.take()
        defer { loop.messages.give(block) }
        let count = block.fill(buffers, skipping: skipped)
        let result = await loop.perform { entry in
            io_uring_prep_writev(entry, rawValue, block.vectors, UInt32(count), UInt64(bitPattern: Int64(offset)))
        }
        return try Errno.check(result)
    }
}
