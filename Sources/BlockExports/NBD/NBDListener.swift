import BlockGraph
import Glibc
import IOLoop

/// Where an NBD server waits for clients.
public enum NBDServerAddress: Hashable, Sendable {
    /// A Unix socket at a path; a socket that is there is replaced.
    case unix(path: String)
    /// A Unix socket in the abstract name space.
    case abstract(name: String)
    /// TCP: a host name or address (empty: all addresses) and a port number or service name ("0": a free port).
    case inet(host: String, service: String, family: SocketAddress.Family)
    /// A socket that listens already, inherited or received; the server closes it.
    case descriptor(FileDescriptor)
}

/// The listening sockets of one address.
struct NBDListener {
    let sockets: [Socket]
    /// The file to remove in the end.
    let path: String?

    /// Begins to listen. Errors: whatever keeps the socket from being bound, in QEMU's words.
    static func open(_ address: NBDServerAddress, backlog: Int32) async throws(BlockError) -> NBDListener {
        switch address {
        case .descriptor(let descriptor): return NBDListener(sockets: [Socket(descriptor)], path: nil)
        case .unix(let path): return try openUnix(path, backlog)
        case .abstract(let name):
            do throws(Errno) {
                return NBDListener(sockets: [try .listen(.abstract(name: name), backlog: backlog)], path: nil)
            } catch {
                throw BlockError("Failed to bind socket to \(name)", causedBy: error)
            }
        case .inet(let host, let service, let family): return try await openInet(host, service, family, backlog)
        }
    }

    /// Ends the waiting of `accept`.
    func shutDown() {
        // An error says that nobody waits.
        for socket in sockets { try? socket.shutdown(.both) }
    }

    /// Closes the sockets and removes the file.
    func close() {
        for socket in sockets { socket.descriptor.closeNow() }
        if let path { unlink(path) }
    }

    private static func openUnix(_ path: String, _ backlog: Int32) throws(BlockError) -> NBDListener {
        guard path.utf8.count < 108 else { throw BlockError("UNIX socket path '\(path)' is too long") }
        if isSocket(path) { unlink(path) }
        do throws(Errno) {
            return NBDListener(sockets: [try .listen(.unix(path: path), backlog: backlog)], path: path)
        } catch {
            throw BlockError("Failed to bind socket to \(path)", causedBy: error)
        }
    }

    /// Whether a socket is at the path: one that was left behind is in the way, anything else is somebody's file.
    private static func isSocket(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFSOCK
    }

    private static func openInet(
        _ host: String, _ service: String, _ family: SocketAddress.Family, _ backlog: Int32
    ) async throws(BlockError) -> NBDListener {
        let addresses: [SocketAddress]
        do throws(ResolutionError) {
            addresses = try await SocketAddress.resolve(
                host: host, service: service, family: family, forListening: true)
        } catch {
            throw BlockError("address resolution failed for \(host):\(service): \(error)")
        }
        var sockets: [Socket] = []
        var failure = Errno.EADDRNOTAVAIL
        for address in addresses {
            do throws(Errno) {
                sockets.append(try .listen(address, backlog: backlog))
            } catch {
                failure = error
            }
        }
        guard !sockets.isEmpty else {
            let what = failure == .EADDRINUSE ? "Failed to find an available port" : "Failed to bind socket"
            throw BlockError(what, causedBy: failure)
        }
        return NBDListener(sockets: sockets, path: nil)
    }
}
