import IOLoop

/// How clients come to a monitor.
public enum MonitorTransport: Sendable {
    /// A listening socket; one client at a time is served. The Unix path, if any, is unlinked in the end.
    case listener(Socket, path: String? = nil)
    /// A connected socket: the one client.
    case socket(Socket)
    /// A pair of streams such as standard input and output, which stay open: the one client.
    case streams(input: FileDescriptor, output: FileDescriptor)

    /// Standard input and output.
    public static let standardStreams = MonitorTransport.streams(
        input: FileDescriptor(rawValue: 0), output: FileDescriptor(rawValue: 1))

    /// A listener at an address; a Unix socket replaces what is at its path. Throws as `Socket.listen`.
    public static func listener(at address: SocketAddress) async throws(Errno) -> MonitorTransport {
        guard case .unix(let path) = address else { return .listener(try Socket.listen(address)) }
        do {
            try await FileDescriptor.unlink(path)
        } catch .ENOENT {
            // Nothing was in the way.
        }
        return .listener(try Socket.listen(address), path: path)
    }
}

/// The bytes in and out of one client.
struct Channel {
    private enum Kind {
        case socket(Socket)
        case streams(FileDescriptor, FileDescriptor)
    }

    private let kind: Kind

    init(_ socket: Socket) { kind = .socket(socket) }

    init(input: FileDescriptor, output: FileDescriptor) { kind = .streams(input, output) }

    /// Receives what is there: 0 at the end.
    func receive(into buffer: IOBuffer) async throws(Errno) -> Int {
        switch kind {
        case .socket(let socket): try await socket.recv(into: buffer)
        case .streams(let input, _): try await input.readStream(into: buffer)
        }
    }

    /// Sends all of a buffer.
    func send(_ buffer: IOBuffer) async throws(Errno) {
        switch kind {
        case .socket(let socket): try await socket.sendFully(from: buffer)
        case .streams(_, let output): try await output.writeStream(from: buffer)
        }
    }

    /// Whether the client can receive nothing more, now that nothing more comes from it.
    func isHungUp() async -> Bool {
        guard case .socket(let socket) = kind else { return false }
        let events = try? await socket.descriptor.poll(.readable)
        return events?.isDisjoint(with: [.hangUp, .error]) != true
    }

    /// Closes a socket, after all operations on it have ended.
    func close() async {
        guard case .socket(let socket) = kind else { return }
        try? await socket.close()
    }
}
