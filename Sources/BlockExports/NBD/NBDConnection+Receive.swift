import IOLoop
import NBDProtocol

/// A request as it came in, with its payload.
struct NBDIncoming {
    var request: NBDRequest
    /// Why the request is not executed, if so.
    var refusal: NBDRefusal?
    /// What a write is to write: a buffer of the pool that whoever executes the request gives back.
    var payload: IOBuffer?
    /// The contexts that a block status request asks for.
    var contexts: [NBDMetaContext]
    /// Memory accounted for it, in bytes.
    var cost = 0
    /// Nothing can be received after this request.
    var endsConnection = false
}

extension NBDConnection {
    /// Receives the next request; nil when the client has ended the connection, or has lost its way.
    func receive() async -> NBDIncoming? {
        guard let request = await receiveHeader(), request.command != .disconnect else { return nil }
        var incoming = NBDIncoming(
            request: request, refusal: request.refusal(session), contexts: session.contexts)
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

    /// Receives up to the end of the next header.
    private func receiveHeader() async -> NBDRequest? {
        while true {
            let bytes = UnsafeRawBufferPointer(input[inputStart..<inputEnd].bytes).bytes
            // What is no request cannot be skipped either.
            guard let decoded = try? NBDRequest.decode(bytes, headers: session.headers) else { return nil }
            if case .request(let request, let size) = decoded {
                inputStart += size
                return request
            }
            guard await receiveMore() else { return nil }
        }
    }

    /// Receives at least one byte into the input buffer, behind an unfinished header; false at the end.
    private func receiveMore() async -> Bool {
        let kept = inputEnd - inputStart
        if inputStart > 0 {
            input[0..<kept].copy(from: input[inputStart..<inputEnd])
            inputStart = 0
            inputEnd = kept
        }
        guard let count = try? await socket.recv(into: input[inputEnd...]), count > 0 else { return false }
        inputEnd += count
        return true
    }

    /// Receives the payload where it is needed, or skips it; false when the connection ends before.
    private func receivePayload(_ count: Int, of incoming: inout NBDIncoming) async -> Bool {
        guard incoming.refusal == nil else { return await skip(count) }
        switch incoming.request.command {
        case .write:
            let buffer = BufferPool.shared.take(count: count)
            guard await fill(buffer) else {
                BufferPool.shared.give(buffer)
                return false
            }
            incoming.payload = buffer
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
        let ahead = min(buffer.count, inputEnd - inputStart)
        buffer[0..<ahead].copy(from: input[inputStart..<inputStart + ahead])
        inputStart += ahead
        let rest = buffer[ahead...]
        guard rest.count > 0 else { return true }
        return (try? await socket.recvFully(into: rest)) == rest.count
    }

    /// Receives bytes that nobody wants.
    private func skip(_ count: Int) async -> Bool {
        var left = count
        while left > 0 {
            if inputStart == inputEnd {
                guard await receiveMore() else { return false }
            }
            let step = min(left, inputEnd - inputStart)
            inputStart += step
            left -= step
        }
        return true
    }
}
