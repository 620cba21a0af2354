import IOLoop
import JSON
import QAPI
import QMPProtocol

/// The socket of a client and what waits for replies, on the loop that does its I/O.
actor ClientConnection {
    /// Bytes to receive or send at once.
    private static let pieceSize = 65536

    nonisolated let subscribers = EventSubscribers()
    private let loop: IOLoop
    private var socket: Socket?
    private var splitter = MessageSplitter()
    private var waiters: [Int64: CheckedContinuation<JSON, any Error>] = [:]
    private var nextID: Int64 = 0
    private var output: [UInt8] = []
    /// Why the connection has ended; nil as long as it has not.
    private var end: QMPClientError?
    private var reader: Task<Void, Never>?
    private var writer: Task<Void, Never>?
    private let changed = WaitQueue()
    private var isClosed = false

    init(loop: IOLoop) { self.loop = loop }

    nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }

    // MARK: Beginning and end

    /// Connects, takes the greeting, and negotiates.
    func open(_ address: SocketAddress, _ capabilities: Set<Capability>) async throws(QMPClientError) -> Greeting {
        let socket: Socket
        do throws(Errno) {
            socket = try await Socket.connect(address)
        } catch {
            throw .connection(error)
        }
        self.socket = socket
        do throws(QMPClientError) {
            let greeting = try await negotiate(socket, capabilities)
            // With the loop as their preference they stay on it while they wait in functions without isolation.
            reader = Task(executorPreference: loop) { await self.read(socket) }
            writer = Task(executorPreference: loop) { await self.write(socket) }
            return greeting
        } catch {
            end = error
            await close()
            throw error
        }
    }

    private func negotiate(_ socket: Socket, _ capabilities: Set<Capability>) async throws(QMPClientError) -> Greeting {
        guard case .greeting(let greeting) = try await nextMessage(socket) else {
            throw .protocolViolation("the server did not greet")
        }
        let names = capabilities.map(\.rawValue).sorted()
        for name in names where !greeting.capabilities.contains(name) { throw .missingCapability(name) }
        let enable: JSONObject = names.isEmpty ? [:] : ["enable": .array(names.map(JSON.string))]
        try await send(Request("qmp_capabilities", arguments: enable).message.wireBytes(), socket)
        switch try await nextMessage(socket) {
        case .reply(Reply(.success([:]))): return greeting
        case .reply(let reply):
            guard case .failure(let error) = reply.result else { break }
            throw .protocolViolation("the server refused negotiation: \(error.description)")
        default: break
        }
        throw .protocolViolation("the server did not answer negotiation")
    }

    /// Ends the connection and waits until the socket is closed.
    func close() async {
        fail(.closed)
        await reader?.value
        await writer?.value
        guard let socket else { return }
        self.socket = nil
        try? await socket.close()
    }

    /// Ends the connection for a reason, unless it has ended already.
    private func fail(_ error: QMPClientError) {
        if end == nil { end = error }
        try? socket?.shutdown(.both)
        let waiting = waiters
        waiters = [:]
        for continuation in waiting.values { continuation.resume(throwing: end ?? error) }
        subscribers.finish()
        changed.notifyAll()
    }

    // MARK: Commands

    /// Sends a request and waits for its reply.
    func execute(_ request: Request) async throws -> JSON {
        nextID += 1
        let id = nextID
        var request = request
        request.id = .integer(id)
        let text = request.message.wireBytes()
        return try await withTaskCancellationHandler {
            // The connection may end, and the task be cancelled, on the way to here: all is decided in one step.
            try await withCheckedThrowingContinuation { continuation in
                if let end { return continuation.resume(throwing: end) }
                output += text
                changed.notifyAll()
                if Task.isCancelled { return continuation.resume(throwing: CancellationError()) }
                waiters[id] = continuation
            }
        } onCancel: {
            Task(executorPreference: loop) { await self.abandon(id) }
        }
    }

    private func abandon(_ id: Int64) {
        waiters.removeValue(forKey: id)?.resume(throwing: CancellationError())
    }

    // MARK: Input

    private func read(_ socket: Socket) async {
        do throws(QMPClientError) {
            while true { try take(try await nextMessage(socket)) }
        } catch {
            fail(error)
        }
    }

    private func take(_ message: ServerMessage) throws(QMPClientError) {
        switch message {
        case .greeting: throw .protocolViolation("the server greeted twice")
        case .event(let event): subscribers.send(event)
        case .reply(let reply):
            guard let id = reply.id else {
                guard case .failure(let error) = reply.result else { return }
                throw .protocolViolation("the server could not read a command: \(error.description)")
            }
            // The reply to a command that was abandoned is of no interest.
            guard case .integer(let number) = id, let waiter = waiters.removeValue(forKey: number) else { return }
            waiter.resume(with: reply.result.mapError { $0 })
        }
    }

    private func nextMessage(_ socket: Socket) async throws(QMPClientError) -> ServerMessage {
        while true {
            switch splitter.next() {
            case .value(let value):
                guard let message = ServerMessage(value) else {
                    throw .protocolViolation("the server sent an unknown message")
                }
                return message
            case .malformed(let error): throw .protocolViolation("the server sent no JSON: \(error.description)")
            case nil: splitter.feed(try await receive(socket))
            }
        }
    }

    private func receive(_ socket: Socket) async throws(QMPClientError) -> [UInt8] {
        let buffer = BufferPool.shared.take(count: Self.pieceSize)
        defer { BufferPool.shared.give(buffer) }
        let count: Int
        do throws(Errno) {
            count = try await socket.recv(into: buffer)
        } catch {
            throw .connection(error)
        }
        if count == 0 { throw .closed }
        return Array(buffer.bytes[..<count])
    }

    // MARK: Output

    private func write(_ socket: Socket) async {
        while true {
            await changed.wait(until: { !output.isEmpty || end != nil })
            if end != nil { return }
            let bytes = output
            output = []
            do throws(QMPClientError) {
                try await send(bytes, socket)
            } catch {
                fail(error)
            }
        }
    }

    private func send(_ bytes: [UInt8], _ socket: Socket) async throws(QMPClientError) {
        let buffer = BufferPool.shared.take(count: Self.pieceSize)
        defer { BufferPool.shared.give(buffer) }
        for start in stride(from: 0, to: bytes.count, by: buffer.count) {
            let piece = bytes[start..<min(start + buffer.count, bytes.count)]
            buffer.bytes.copyBytes(from: piece)
            do throws(Errno) {
                try await socket.sendFully(from: buffer[..<piece.count])
            } catch {
                throw .connection(error)
            }
        }
    }
}
