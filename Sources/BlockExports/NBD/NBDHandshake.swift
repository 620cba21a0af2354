import BlockGraph
import IOLoop
import Logging
import NBDProtocol

/// One client that negotiates.
@GraphActor
final class NBDHandshake {
    private static let inputSize = 4096

    private let socket: Socket
    private var decoder = NBDHandshakeDecoder()
    private var negotiation = NBDNegotiation()
    private var isOver = false

    /// What the client sent after its last option.
    private(set) var remainder: [UInt8] = []

    init(socket: Socket) {
        self.socket = socket
    }

    /// Ends the negotiation from outside.
    func end() {
        guard !isOver else { return }
        // An error says that the peer has gone already.
        try? socket.shutdown(.both)
    }

    /// Negotiates; the connection to start, or nil if the socket is to be closed.
    func run(_ server: NBDServer) async -> NBDConnection? {
        let timer = startTimer(server.limits.handshakeMaximumSeconds)
        defer {
            isOver = true
            timer?.cancel()
        }
        do {
            try await send(NBD.greeting)
            return try await negotiate(server)
        } catch let error as NBDFatalError {
            server.logger.debug("option negotiation failed: \(error.message)")
        } catch {
            server.logger.debug("option negotiation failed: \(error)")
        }
        return nil
    }

    private func startTimer(_ seconds: Int) -> Task<Void, Never>? {
        guard seconds > 0 else { return nil }
        return GraphActor.spawn {
            do throws(Errno) {
                try await IOLoop.sleep(for: .seconds(seconds))
                self.end()
            } catch {
                // Cancelled: the negotiation ended in time.
            }
        }
    }

    private func negotiate(_ server: NBDServer) async throws -> NBDConnection? {
        let input = BufferPool.shared.take(count: Self.inputSize)
        defer { BufferPool.shared.give(input) }
        while true {
            while let message = try decoder.next() {
                let step = negotiation.handle(message, exports: server.exportInfos)
                switch step.next {
                case .option: try await send(step.reply)
                case .close(let reason):
                    if let reason { server.logger.debug("option negotiation failed: \(reason)") }
                    try await send(step.reply)
                    return nil
                case .transmission(let session): return try await accept(session, step.reply, server)
                }
            }
            let count = try await socket.recv(into: input)
            guard count > 0 else { return nil }
            decoder.append(input[0..<count].bytes)
        }
    }

    /// Makes the connection before the client hears of its success, so that the export is kept for it.
    private func accept(_ session: NBDSession, _ reply: [UInt8], _ server: NBDServer) async throws -> NBDConnection? {
        remainder = decoder.takeRemainder()
        guard remainder.count <= NBDConnection.inputSize else { return nil }
        guard let connection = server.connect(socket, session) else { return nil }
        do throws(Errno) {
            try await send(reply)
        } catch {
            // The connection finds that out by itself when it starts.
            server.logger.debug("option negotiation failed: \(error)")
        }
        return connection
    }

    private func send(_ bytes: [UInt8]) async throws(Errno) {
        guard !bytes.isEmpty else { return }
        let output = BufferPool.shared.take(count: bytes.count)
        defer { BufferPool.shared.give(output) }
        bytes.withUnsafeBytes { output.copy(from: IOBuffer($0)) }
        try await socket.sendFully(from: output)
    }
}
