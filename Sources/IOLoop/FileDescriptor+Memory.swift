import CLiburing
import CLinuxShims
import Glibc

// Files that lie in memory. Their file systems take no requests that must not wait (`RWF_NOWAIT`), so that the ring gives each
// to a worker thread of the kernel, which costs several times what copying a few pages does.
extension FileDescriptor {
    /// Whether the file's bytes are in memory (tmpfs, ramfs), so that no request on it waits for a device.
    public var isInMemory: Bool { cairn_is_in_memory(rawValue) }

    /// Reads from a file in memory as `read(into:at:)`: short requests on the loop's own thread.
    public func readInMemory(into buffer: IOBuffer, at offset: Int) async throws(Errno) -> Int {
        guard await IOLoop.mayCopyNow(buffer) else {
            return IOLoop.spreadsCopy(buffer.count)
                ? try await readAside(into: buffer, at: offset) : try await read(into: buffer, at: offset)
        }
        return try Errno.checkTransfer(pread(rawValue, buffer.base, buffer.count, off_t(offset)))
    }

    /// Reads as `read(into:at:)`, by a worker of the kernel that does nothing else meanwhile.
    private func readAside(into buffer: IOBuffer, at offset: Int) async throws(Errno) -> Int {
        let result = await IOLoop.perform { entry in
            io_uring_prep_read(
                entry, rawValue, buffer.base, UInt32(min(buffer.count, FileDescriptor.transferLimit)),
                UInt64(bitPattern: Int64(offset)))
            entry.pointee.flags |= IOLoop.asideFlag
        }
        return try Errno.check(result)
    }

    /// Writes to a file in memory as `write(from:at:)`: short requests on the loop's own thread.
    public func writeInMemory(from buffer: IOBuffer, at offset: Int) async throws(Errno) -> Int {
        guard await IOLoop.mayCopyNow(buffer) else { return try await write(from: buffer, at: offset) }
        return try Errno.checkTransfer(pwrite(rawValue, buffer.base, buffer.count, off_t(offset)))
    }

    /// Does what there is to do for `fdatasync()` of a file in memory, where nothing gets more durable than it is: on the
    /// calling thread. Throws the errors of `fdatasync(2)`.
    public func fdatasyncInMemory() throws(Errno) {
        _ = try Errno.checkCall(Glibc.fdatasync(rawValue))
    }
}
