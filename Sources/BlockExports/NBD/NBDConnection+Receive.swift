import BlockGraph
import IOLoop
import NBDProtocol

/// A request as it came in, with its payload.
struct NBDIncoming {
    /// Where the bytes are that a write is to write. Whoever executes the request gives them back.
    enum Payload {
        case none
        /// A buffer of the pool.
        case pooled(IOBuffer)
        /// A part of the bytes received ahead.
        case borrowed(NBDInput.Loan)
    }

    var request: NBDRequest
    /// Why the request is not executed, if so.
    var refusal: NBDRefusal?
    /// What a write is to write.
    var payload = Payload.none
    /// The contexts that a block status request asks for.
    var contexts: [NBDMetaContext] = []
    /// Memory accounted for it, in bytes.
    var cost = 0
    /// Nothing can be received after this request.
    var endsConnection = false

    init(_ request: NBDRequest) { self.request = request }
}

extension NBDConnection {
    /// Payloads of at most so many bytes are received together with what comes before and after them. Longer ones are received
    /// straight into memory of their own.
    static let shortPayload = 32 << 10
    /// Bytes received ahead where a long payload is likely to follow.
    private static let shortReceive = 512

    /// The next request where it is there as a whole, valid, of the usual kind, and where there is room for it; nil else.
    func receiveNow() -> NBDIncoming? {
        guard case .request(let request, let size)? = peek(), request.refusal(session) == nil else { return nil }
        var incoming = NBDIncoming(request)
        var payload = 0
        switch request.command {
        case .read: incoming.cost = Int(request.length)
        case .write:
            incoming.cost = Int(request.length)
            payload = incoming.cost
            guard payload > 0, payload <= Self.shortPayload, input.count >= size + payload else { return nil }
            expectsLongPayload = false
        case .flush, .trim, .writeZeroes, .cache: break
        case .blockStatus, .disconnect, nil: return nil
        }
        guard tryReserve(incoming.cost) else { return nil }
        input.skip(size)
        if payload > 0 { incoming.payload = .borrowed(input.borrow(payload)) }
        return incoming
    }

    /// Receives the next request; nil when the client has ended the connection, or has lost its way.
    func receive() async -> NBDIncoming? {
        while true {
            if let incoming = receiveNow() { return incoming }
            // What is no request cannot be skipped either.
            guard let decoded = peek() else { return nil }
            var needed = session.headers.requestSize
            if case .request(let request, let size) = decoded {
                needed = size
                if request.command == .write, request.length <= UInt64(Self.shortPayload),
                    request.refusal(session) == nil
                {
                    needed += Int(request.length)
                }
                if input.count >= needed {
                    input.skip(size)
                    return await receiveRest(of: request)
                }
            }
            guard await receiveMore(needed) else { return nil }
        }
    }

    /// What begins the bytes that are there; nil for what is no request.
    private func peek() -> NBDRequest.Decoded? {
        try? NBDRequest.decode(UnsafeRawBufferPointer(input.bytes.bytes).bytes, headers: session.headers)
    }

    /// Receives what follows the header of a request.
    private func receiveRest(of request: NBDRequest) async -> NBDIncoming? {
        guard request.command != .disconnect else { return nil }
        var incoming = NBDIncoming(request)
        incoming.refusal = request.refusal(session)
        if request.command == .blockStatus { incoming.contexts = session.contexts }
        if incoming.refusal?.isFatal == true {
            incoming.endsConnection = true
            await reserve(0)
            return incoming
        }
        let payload = Int(request.payloadLength(session.headers))
        if incoming.refusal == nil, request.command == .read || request.command == .write {
            incoming.cost = Int(request.length)
        }
        await reserve(incoming.cost)
        let isWhole = payload == 0 ? true : await receivePayload(payload, of: &incoming)
        guard isWhole else {
            release(count: 1, cost: incoming.cost)
            return nil
        }
        return incoming
    }

    /// Receives at least one byte behind an unfinished request, which needs so many bytes; false at the end.
    private func receiveMore(_ needed: Int) async -> Bool {
        var room = input.makeRoom(for: needed)
        if expectsLongPayload, input.count == 0 { room = room[..<Self.shortReceive] }
        guard let count = try? await socket.recvUncancelled(into: room), count > 0 else { return false }
        input.didReceive(count)
        return true
    }

    /// Receives the payload where it is needed, or skips it; false when the connection ends before.
    private func receivePayload(_ count: Int, of incoming: inout NBDIncoming) async -> Bool {
        guard incoming.refusal == nil else { return await skip(count) }
        switch incoming.request.command {
        case .write:
            expectsLongPayload = count > Self.shortPayload
            if count <= input.count {
                incoming.payload = .borrowed(input.borrow(count))
                return true
            }
            let buffer = BufferPool.shared.take(count: count)
            guard await fill(buffer) else {
                BufferPool.shared.give(buffer)
                return false
            }
            incoming.payload = .pooled(buffer)
            return true
        case .blockStatus: return await receiveContexts(count, of: &incoming)
        default: return await skip(count)
        }
    }

    /// Receives the payload of a block status request, which narrows its contexts.
    private func receiveContexts(_ count: Int, of incoming: inout NBDIncoming) async -> Bool {
        guard NBDRequest.canNarrow(payloadLength: UInt64(count), session) else {
            incoming.refusal = .invalidStatusPayload
            return await skip(count)
        }
        let buffer = BufferPool.shared.take(count: count)
        defer { BufferPool.shared.give(buffer) }
        guard await fill(buffer) else { return false }
        do throws(NBDRefusal) {
            let bytes = UnsafeRawBufferPointer(buffer.bytes).bytes
            (incoming.request, incoming.contexts) = try incoming.request.narrowed(by: bytes, session: session)
        } catch {
            incoming.refusal = error
        }
        return true
    }

    /// Fills the buffer with what was received ahead, and the rest straight from the socket.
    private func fill(_ buffer: IOBuffer) async -> Bool {
        var done = min(buffer.count, input.count)
        buffer[0..<done].copy(from: input.bytes[..<done])
        input.skip(done)
        while done < buffer.count {
            guard let count = try? await socket.recvUncancelled(into: buffer[done...], all: true), count > 0 else {
                return false
            }
            done += count
        }
        return true
    }

    /// Receives bytes that nobody wants.
    private func skip(_ count: Int) async -> Bool {
        var left = count
        while left > 0 {
            if input.count == 0 {
                guard await receiveMore(1) else { return false }
            }
            let step = min(left, input.count)
            input.skip(step)
            left -= step
        }
        return true
    }
}
