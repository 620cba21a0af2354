import CLinuxShims
import Glibc

// Files that lie in memory. Their file systems take no requests that must not wait (`RWF_NOWAIT`), so that the ring gives each
// to a worker thread of the kernel, which costs several times what copying a few pages does.
extension FileDescriptor {
    /// Whether the file's bytes are in memory (tmpfs, ramfs), so that no request on it waits for a device.
    public var isInMemory: Bool { cairn_is_in_memory(rawValue) }

    /// Reads from a file in memory as `read(into:at:)`: short requests on the loop's own thread.
    public func readInMemory(into buffer: IOBuffer, at offset: Int) async throws(Errno) -> Int {
        guard await IOLoop.mayCopyNow(buffer) else { return try await read(into: buffer, at: offset) }
        return try Errno.checkTransfer(pread(rawValue, buffer.base, buffer.count, off_t(offset)))
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
