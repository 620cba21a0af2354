import IOLoop
import QMPProtocol
import StorageTestSupport

/// A server of one client that sends what a test says.
final class FakeServer: Sendable {
    let directory = TemporaryDirectory()
    let listener: Socket

    static let greeting = "{\"QMP\": {\"version\": {}, \"capabilities\": [\"oob\"]}}\r\n"

    init() throws { listener = try Socket.listen(.unix(path: directory.file("s"))) }

    var address: SocketAddress { .unix(path: directory.file("s")) }

    /// Sends `texts` to the next client, each after receiving something except for the first, and then ends.
    func serve(_ texts: [String]) -> Task<Void, any Error> {
        Task { try await onLoop { [self] () async throws in try await run(texts) } }
    }

    private func run(_ texts: [String]) async throws {
        let socket = try await listener.accept()
        try await BufferPool.shared.withBuffer(count: 65536) { (buffer) async throws(Errno) in
            for (index, text) in texts.enumerated() {
                if index > 0 { _ = try await socket.recv(into: buffer) }
                let bytes = Array(text.utf8)
                buffer.bytes.copyBytes(from: bytes)
                try await socket.sendFully(from: buffer[..<bytes.count])
            }
            try socket.shutdown(.sending)
            while try await socket.recv(into: buffer) > 0 {}
        }
        try await socket.close()
        try await listener.close()
    }
}
