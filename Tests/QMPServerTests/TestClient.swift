import IOLoop
import JSON
import QMPProtocol

/// A client that sends text and receives messages.
final class TestClient {
    let socket: Socket
    private var splitter = MessageSplitter()

    init(_ socket: Socket) { self.socket = socket }

    static func connect(_ path: String) async throws -> TestClient {
        TestClient(try await Socket.connect(.unix(path: path)))
    }

    func send(_ text: String) async throws { try await send(Array(text.utf8)) }

    func send(_ bytes: [UInt8]) async throws {
        try await BufferPool.shared.withBuffer(count: bytes.count) { (buffer) async throws(Errno) in
            buffer.bytes.copyBytes(from: bytes)
            try await socket.sendFully(from: buffer[..<bytes.count])
        }
    }

    /// The next message, nil at the end of the stream.
    func next() async throws -> JSON? {
        while true {
            switch splitter.next() {
            case .value(let value): return value
            case .malformed(let error): throw error
            case nil: break
            }
            let bytes = try await receive()
            if bytes.isEmpty { return nil }
            splitter.feed(bytes)
        }
    }

    /// What is there, empty at the end of the stream.
    func receive() async throws -> [UInt8] {
        try await BufferPool.shared.withBuffer(count: 4096) { (buffer) async throws(Errno) in
            Array(buffer.bytes[..<(try await socket.recv(into: buffer))])
        }
    }

    /// Everything up to the end of the stream, as text.
    func rest() async throws -> String {
        var bytes: [UInt8] = []
        while true {
            let more = try await receive()
            if more.isEmpty { return String(decoding: bytes, as: UTF8.self) }
            bytes += more
        }
    }

    /// Takes the greeting and negotiates.
    func negotiate(oob: Bool = false) async throws {
        let greeting = try await next()
        let arguments = oob ? ",\"arguments\":{\"enable\":[\"oob\"]}" : ""
        try await send("{\"execute\":\"qmp_capabilities\"\(arguments)}")
        guard try await next() == ["return": [:]], case .object(let object)? = greeting, object["QMP"] != nil else {
            throw Errno.EPROTO
        }
    }

    /// Sends a request and returns the next message.
    func ask(_ text: String) async throws -> JSON? {
        try await send(text)
        return try await next()
    }

    func close() async throws { try await socket.close() }
}
