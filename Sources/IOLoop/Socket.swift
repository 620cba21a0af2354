import CLiburing
import Glibc

/// A stream socket, Unix or TCP. As its descriptor, a plain number: its owner calls `close()` once.
///
/// `accept`, `connect`, `recv` and `send` end with `ECANCELED` when their task is cancelled. Close a socket after the
/// operations on it ended: they keep it open. `shutdown` ends them from outside.
public struct Socket: Hashable, Sendable {
    /// The open socket.
    public let descriptor: FileDescriptor

    /// Takes over an open socket, as inherited from the parent process or received.
    public init(_ descriptor: FileDescriptor) {
        self.descriptor = descriptor
    }

    var number: Int32 { descriptor.rawValue }

    /// Makes a socket that listens at `address`; port 0 takes a free one. For Unix sockets, an existing file at the
    /// path is the caller's to remove, and so is the new one in the end.
    ///
    /// - Parameters:
    ///   - backlog: connections that wait for `accept`.
    ///   - onlyVersion6: whether a version 6 socket refuses version 4 connections.
    ///
    /// Throws the errors of `socket(2)`, `bind(2)` and `listen(2)`: `EADDRINUSE`, `EACCES`, `EADDRNOTAVAIL`, and
    /// `ENAMETOOLONG` for a Unix path that is too long.
    public static func listen(
        _ address: SocketAddress, backlog: Int32 = 128, onlyVersion6: Bool = true
    ) throws(Errno) -> Socket {
        let memory = try AddressMemory(address)
        defer { memory.free() }
        let result = try make(memory.family)
        do throws(Errno) {
            if memory.family != AF_UNIX { try result.set(SOL_SOCKET, SO_REUSEADDR, 1) }
            if memory.family == AF_INET6 { try result.set(Int32(IPPROTO_IPV6), IPV6_V6ONLY, onlyVersion6 ? 1 : 0) }
            _ = try Errno.checkCall(bind(result.number, memory.pointer, memory.length))
            _ = try Errno.checkCall(Glibc.listen(result.number, backlog))
        } catch {
            result.descriptor.closeNow()
            throw error
        }
        return result
    }

    /// Makes a socket that is connected to `address`.
    ///
    /// Throws the errors of `connect(2)` (`ECONNREFUSED`, `ENOENT`, `ETIMEDOUT`, ...), `ENAMETOOLONG` for a Unix path
    /// that is too long, `ECANCELED`.
    public static func connect(_ address: SocketAddress) async throws(Errno) -> Socket {
        let loop = IOLoop.required
        let memory = try AddressMemory(address)
        defer { memory.free() }
        let result = try make(memory.family)
        let outcome = await loop.performCancellable { entry, _ in
            io_uring_prep_connect(entry, result.number, memory.pointer, memory.length)
        }
        if outcome < 0 {
            result.descriptor.closeNow()
            throw Errno(rawValue: -outcome)
        }
        return result
    }

    /// Two connected Unix sockets. Throws `EMFILE` and `ENFILE`.
    public static func pair() throws(Errno) -> (Socket, Socket) {
        var numbers: [Int32] = [-1, -1]
        let kind = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
        _ = try Errno.checkCall(socketpair(AF_UNIX, kind, 0, &numbers))
        return (
            Socket(FileDescriptor(rawValue: numbers[0])), Socket(FileDescriptor(rawValue: numbers[1]))
        )
    }

    /// Waits for the next connection to a listening socket.
    ///
    /// Throws `ECANCELED`, and the errors of `accept(2)`: after `ECONNABORTED`, `EMFILE`, `ENFILE`, `ENOBUFS` and
    /// `ENOMEM` the socket still listens. `EINVAL` says that it was shut down.
    public func accept() async throws(Errno) -> Socket {
        let loop = IOLoop.required
        while true {
            let result = await loop.performCancellable { entry, _ in
                io_uring_prep_accept(entry, number, nil, nil, Int32(SOCK_CLOEXEC.rawValue))
            }
            if try await mustRetry(result, .readable) { continue }
            return Socket(FileDescriptor(rawValue: Int32(try Errno.check(result))))
        }
    }

    /// Closes the socket. Throws as `FileDescriptor.close()`.
    public func close() async throws(Errno) {
        try await descriptor.close()
    }

    /// Which directions of a connection end.
    public enum Direction: Sendable {
        /// What comes in: `recv` returns 0.
        case receiving
        /// What goes out: the peer sees the end.
        case sending
        /// Both.
        case both
    }

    /// Ends one or both directions of the connection, and with them operations that wait. On a listening socket,
    /// `both` ends `accept`. Throws `ENOTCONN`.
    public func shutdown(_ direction: Direction) throws(Errno) {
        let how: Int =
            switch direction {
            case .receiving: SHUT_RD
            case .sending: SHUT_WR
            case .both: SHUT_RDWR
            }
        _ = try Errno.checkCall(Glibc.shutdown(number, Int32(how)))
    }

    private static func make(_ family: Int32) throws(Errno) -> Socket {
        let kind = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
        return Socket(FileDescriptor(rawValue: try Errno.checkCall(socket(family, kind, 0))))
    }

    /// Whether to try an operation again: it was interrupted, or the socket was made non-blocking by whoever it was
    /// inherited from, and this waited until it is ready.
    func mustRetry(_ result: Int32, _ events: PollEvents) async throws(Errno) -> Bool {
        if result == -EINTR { return true }
        guard result == -EAGAIN else { return false }
        _ = try await descriptor.poll(events)
        return true
    }
}
