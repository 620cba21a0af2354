import CLiburing
import Glibc

/// Where a socket listens or connects to.
public enum SocketAddress: Hashable, Sendable, CustomStringConvertible {
    /// A Unix socket in the file system; at most 107 bytes.
    case unix(path: String)
    /// A Unix socket in Linux's abstract name space; at most 107 bytes.
    case abstract(name: String)
    /// A numeric address of the Internet protocol, version 6 when it has a colon, and a port.
    case ip(host: String, port: UInt16)
    /// A socket without a name, or of another family.
    case unnamed

    /// The address for people: a path, `@name`, `127.0.0.1:10809`, `[::1]:10809`; empty when it has none.
    public var description: String {
        switch self {
        case .unix(let path): path
        case .abstract(let name): "@\(name)"
        case .ip(let host, let port): host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
        case .unnamed: ""
        }
    }

    /// The port of an Internet address.
    public var port: UInt16? {
        if case .ip(_, let port) = self { return port }
        return nil
    }
}

/// An address as the kernel takes it, in memory that stays in place until `free()`.
struct AddressMemory {
    let storage: UnsafeMutablePointer<sockaddr_storage>
    var length: socklen_t

    private static let capacity = socklen_t(MemoryLayout<sockaddr_storage>.size)
    private static let pathOffset = 2
    private static let pathCapacity = 108

    var family: Int32 { Int32(storage.pointee.ss_family) }

    var pointer: UnsafeMutablePointer<sockaddr> {
        UnsafeMutableRawPointer(storage).assumingMemoryBound(to: sockaddr.self)
    }

    /// Room for an address that a system call fills in.
    init() {
        storage = .allocate(capacity: 1)
        storage.initialize(to: sockaddr_storage())
        length = AddressMemory.capacity
    }

    /// Throws `ENAMETOOLONG` for a Unix path that does not fit, and `EINVAL` for what is no address.
    init(_ address: SocketAddress) throws(Errno) {
        self.init()
        do throws(Errno) {
            switch address {
            case .unix(let path): try setUnix(Array(path.utf8) + [0])
            case .abstract(let name): try setUnix([0] + Array(name.utf8))
            case .ip(let host, let port): try setInternet(host, port)
            case .unnamed: throw .EINVAL
            }
        } catch {
            free()
            throw error
        }
    }

    func free() { storage.deallocate() }

    private mutating func setUnix(_ name: [UInt8]) throws(Errno) {
        guard name.count > 1, !name.dropFirst().dropLast().contains(0) else { throw .EINVAL }
        guard name.count <= AddressMemory.pathCapacity else { throw .ENAMETOOLONG }
        storage.pointee.ss_family = sa_family_t(AF_UNIX)
        name.withUnsafeBytes { bytes in
            UnsafeMutableRawBufferPointer(
                start: UnsafeMutableRawPointer(storage) + AddressMemory.pathOffset, count: name.count
            ).copyMemory(from: bytes)
        }
        length = socklen_t(AddressMemory.pathOffset + name.count)
    }

    private mutating func setInternet(_ host: String, _ port: UInt16) throws(Errno) {
        var hints = addrinfo()
        hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, String(port), &hints, &list) == 0, let found = list else { throw .EINVAL }
        defer { freeaddrinfo(found) }
        memcpy(storage, found.pointee.ai_addr, Int(found.pointee.ai_addrlen))
        length = found.pointee.ai_addrlen
    }

    /// The address that a system call filled in.
    var address: SocketAddress {
        switch family {
        case AF_UNIX: unixAddress
        case AF_INET, AF_INET6: internetAddress
        default: .unnamed
        }
    }

    private var unixAddress: SocketAddress {
        let used = min(Int(length), AddressMemory.pathOffset + AddressMemory.pathCapacity) - AddressMemory.pathOffset
        guard used > 0 else { return .unnamed }
        let name = UnsafeRawBufferPointer(
            start: UnsafeRawPointer(storage) + AddressMemory.pathOffset, count: used)
        if name[0] == 0 { return .abstract(name: String(decoding: name.dropFirst(), as: UTF8.self)) }
        return .unix(path: String(decoding: name.prefix { $0 != 0 }, as: UTF8.self))
    }

    private var internetAddress: SocketAddress {
        var host = [CChar](repeating: 0, count: Int(NI_MAXHOST))
        var service = [CChar](repeating: 0, count: 32)
        let flags = Int32(NI_NUMERICHOST | NI_NUMERICSERV)
        let result = getnameinfo(
            pointer, length, &host, socklen_t(host.count), &service, socklen_t(service.count), flags)
        guard result == 0, let port = UInt16(text(service)) else { return .unnamed }
        return .ip(host: text(host), port: port)
    }

    private func text(_ characters: [CChar]) -> String {
        String(decoding: characters.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
