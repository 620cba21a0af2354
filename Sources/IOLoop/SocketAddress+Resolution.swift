import CLiburing
import Glibc

/// Why a host name or a service has no address.
public struct ResolutionError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The number of `getaddrinfo(3)`.
    public let code: Int32

    /// What the C library says of it: "Name or service not known".
    public var description: String { String(cString: gai_strerror(code)) }
}

extension SocketAddress {
    /// Which versions of the Internet protocol to look for.
    public enum Family: Sendable {
        /// Both.
        case any
        /// Version 4.
        case ipv4
        /// Version 6.
        case ipv6
    }

    /// The addresses of `host` and `service` (a port number or a name), best first, at least one.
    ///
    /// Numeric addresses are answered at once; for a name a thread waits for the name service, uncancellably.
    ///
    /// - Parameters:
    ///   - host: a name or a numeric address; empty for this host's addresses.
    ///   - forListening: whether an empty host means all addresses rather than the loopback's.
    ///
    /// Throws what the name service says.
    public static func resolve(
        host: String, service: String, family: Family = .any, forListening: Bool = false
    ) async throws(ResolutionError) -> [SocketAddress] {
        var query = Query(host: host, service: service, family: family, forListening: forListening)
        query.flags = AI_NUMERICHOST | AI_NUMERICSERV
        let quick = query.run()
        if case .failure(let error) = quick, error.code == EAI_NONAME || error.code == EAI_SERVICE {
            query.flags = 0
            return try await query.runOnThread().get()
        }
        return try quick.get()
    }
}

/// A question for the name service.
private struct Query: Sendable {
    let host: String
    let service: String
    let family: SocketAddress.Family
    let forListening: Bool
    var flags: Int32 = 0

    typealias Answer = Result<[SocketAddress], ResolutionError>

    func run() -> Answer {
        var hints = addrinfo()
        hints.ai_flags = flags | (forListening ? AI_PASSIVE : 0)
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        switch family {
        case .any: hints.ai_family = AF_UNSPEC
        case .ipv4: hints.ai_family = AF_INET
        case .ipv6: hints.ai_family = AF_INET6
        }
        var list: UnsafeMutablePointer<addrinfo>?
        let result = getaddrinfo(host.isEmpty ? nil : host, service, &hints, &list)
        guard result == 0 else { return .failure(ResolutionError(code: result)) }
        defer { if let list { freeaddrinfo(list) } }
        var addresses: [SocketAddress] = []
        var next = list
        while let entry = next {
            var memory = AddressMemory()
            memcpy(memory.storage, entry.pointee.ai_addr, Int(entry.pointee.ai_addrlen))
            memory.length = entry.pointee.ai_addrlen
            addresses.append(memory.address)
            memory.free()
            next = entry.pointee.ai_next
        }
        return addresses.isEmpty ? .failure(ResolutionError(code: EAI_NONAME)) : .success(addresses)
    }

    /// Asks on a thread of its own, since the name service may take long and the ring cannot ask it.
    func runOnThread() async -> Answer {
        await withUnsafeContinuation { continuation in
            let pending = Unmanaged.passRetained(Pending(query: self, continuation: continuation))
            var attributes = pthread_attr_t()
            pthread_attr_init(&attributes)
            pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
            defer { pthread_attr_destroy(&attributes) }
            var thread = pthread_t()
            if pthread_create(&thread, &attributes, resolverMain, pending.toOpaque()) != 0 {
                pending.release()
                continuation.resume(returning: .failure(ResolutionError(code: EAI_AGAIN)))
            }
        }
    }

    final class Pending {
        let query: Query
        let continuation: UnsafeContinuation<Answer, Never>

        init(query: Query, continuation: UnsafeContinuation<Answer, Never>) {
            self.query = query
            self.continuation = continuation
        }
    }
}

private func resolverMain(_ argument: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    guard let argument else { return nil }
    let pending = Unmanaged<Query.Pending>.fromOpaque(argument).takeRetainedValue()
    pending.continuation.resume(returning: pending.query.run())
    return nil
}
