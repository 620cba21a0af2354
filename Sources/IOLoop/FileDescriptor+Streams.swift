import CLiburing
import Glibc

/// What a descriptor can be ready for, as `poll(2)`.
public struct PollEvents: OptionSet, Sendable {
    /// The bits of `poll(2)`.
    public let rawValue: UInt32

    /// Makes events of the bits of `poll(2)`.
    public init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    /// There is something to read, or the end (`POLLIN`).
    public static let readable = PollEvents(rawValue: 0x1)
    /// There is room to write (`POLLOUT`).
    public static let writable = PollEvents(rawValue: 0x4)
    /// An error; reported without being asked for (`POLLERR`).
    public static let error = PollEvents(rawValue: 0x8)
    /// The other end is closed; reported without being asked for (`POLLHUP`).
    public static let hangUp = PollEvents(rawValue: 0x10)
}

// Descriptors without offsets: pipes, terminals, event descriptors. These operations are cancellable.
extension FileDescriptor {
    /// Waits until the descriptor is ready for one of `events`, has an error or lost its peer.
    ///
    /// - Returns: what it is ready for. Throws `ECANCELED`, and `EBADF`.
    public func poll(_ events: PollEvents) async throws(Errno) -> PollEvents {
        let result = await IOLoop.required.performCancellable { entry, _ in
            io_uring_prep_poll_add(entry, rawValue, events.rawValue)
        }
        return PollEvents(rawValue: UInt32(try Errno.check(result)))
    }

    /// Reads what is there from a pipe, terminal or other stream, waiting for at least one byte.
    ///
    /// - Returns: bytes read, 0 at the end. Throws the errors of `read(2)`, and `ECANCELED`.
    public func readStream(into buffer: IOBuffer) async throws(Errno) -> Int {
        let loop = IOLoop.required
        while true {
            let result = await loop.performCancellable { entry, _ in
                io_uring_prep_read(
                    entry, rawValue, buffer.base, UInt32(min(buffer.count, FileDescriptor.transferLimit)), UInt64.max)
            }
            if result < 0, try await mustRetry(result, .readable) { continue }
            return try Errno.check(result)
        }
    }

    /// Writes all of `buffer` to a pipe, terminal or other stream.
    ///
    /// Throws the errors of `write(2)` (`EPIPE` without a reader), and `ECANCELED`; some of it may then be written.
    public func writeStream(from buffer: IOBuffer) async throws(Errno) {
        let loop = IOLoop.required
        var done = 0
        while done < buffer.count {
            let rest = buffer[done...]
            let result = await loop.performCancellable { entry, _ in
                io_uring_prep_write(
                    entry, rawValue, rest.base, UInt32(min(rest.count, FileDescriptor.transferLimit)), UInt64.max)
            }
            if result < 0, try await mustRetry(result, .writable) { continue }
            done += try Errno.check(result)
        }
    }

    private func mustRetry(_ result: Int32, _ events: PollEvents) async throws(Errno) -> Bool {
        try await Socket(self).mustRetry(result, events)
    }
}
