import BlockGraph
import IOLoop
import NBDProtocol

extension NBDConnection {
    /// From this length on a structured read looks for holes first.
    private static let sparseReadThreshold = 32 << 10
    /// Most chunks of one read; ``NBDReplyBatch/headerSpace`` holds their headers.
    private static let maximumChunks = 8
    /// Reading ahead for `NBD_CMD_CACHE` goes in pieces of this size.
    private static let cachePiece: Int64 = 1 << 20

    /// Executes a request and adds its reply.
    func execute(_ incoming: NBDIncoming) async {
        let request = incoming.request
        if let refusal = incoming.refusal {
            return fail(incoming, refusal.error, refusal.message)
        }
        do throws(Errno) {
            switch request.command {
            case .read where request.length > 0: return try await read(incoming)
            case .blockStatus: return try await blockStatus(incoming)
            case .write: try await write(incoming)
            case .flush: try await export.backend.flush()
            case .trim: try await trim(request)
            case .cache: try await cache(request)
            case .writeZeroes: try await writeZeroes(request)
            case .read, .disconnect, nil: break
            }
            reply(cost: incoming.cost) { batch in
                batch.append { encoder.success(request, to: &$0) }
            }
        } catch {
            fail(incoming, NBDError(errno: error.rawValue), failureText(request))
        }
    }

    private func fail(_ incoming: NBDIncoming, _ error: NBDError, _ message: String) {
        reply(cost: incoming.cost) { batch in
            batch.append { encoder.failure(incoming.request, error, message, to: &$0) }
        }
    }

    private func failureText(_ request: NBDRequest) -> String {
        switch request.command {
        case .read: "reading from file failed"
        case .write, .writeZeroes: "writing to file failed"
        case .flush: "flush failed"
        case .trim: "discard failed"
        case .cache: "caching data failed"
        case .blockStatus: "can't get block status"
        case .disconnect, nil: ""
        }
    }

    // MARK: Reading

    private func read(_ incoming: NBDIncoming) async throws(Errno) {
        let request = incoming.request
        let buffer = BufferPool.shared.take(count: Int(request.length))
        let chunks: [NBDReadChunk]
        do throws(Errno) {
            if session.headers != .simple, buffer.count >= Self.sparseReadThreshold,
                !request.flags.contains(.dontFragment)
            {
                chunks = try await readSparse(request, into: buffer)
            } else {
                chunks = []
                try await export.backend.read(request.range, into: buffer)
            }
        } catch {
            BufferPool.shared.give(buffer)
            throw error
        }
        reply(cost: incoming.cost) { batch in
            batch.own(buffer)
            if chunks.isEmpty {
                batch.append {
                    encoder.data(request, offset: request.offset, count: buffer.count, flags: .done, to: &$0)
                }
                batch.append(payload: buffer)
            }
            for (index, chunk) in chunks.enumerated() {
                append(chunk, of: request, isLast: index == chunks.count - 1, from: buffer, to: batch)
            }
        }
    }

    private func append(
        _ chunk: NBDReadChunk, of request: NBDRequest, isLast: Bool, from buffer: IOBuffer, to batch: NBDReplyBatch
    ) {
        let flags: NBDReplyFlags = isLast ? .done : []
        let offset = request.offset + UInt64(chunk.range.lowerBound)
        batch.append {
            if chunk.isHole {
                encoder.hole(request, offset: offset, count: UInt32(chunk.range.count), flags: flags, to: &$0)
            } else {
                encoder.data(request, offset: offset, count: chunk.range.count, flags: flags, to: &$0)
            }
        }
        if !chunk.isHole { batch.append(payload: buffer[chunk.range]) }
    }

    /// Reads what is not known to be zero; the chunks cover the buffer. No chunks: all of it is data.
    private func readSparse(_ request: NBDRequest, into buffer: IOBuffer) async throws(Errno) -> [NBDReadChunk] {
        let chunks = await findHoles(request)
        if chunks.isEmpty { try await export.backend.read(request.range, into: buffer) }
        for chunk in chunks where !chunk.isHole {
            let start = request.range.lowerBound + Int64(chunk.range.lowerBound)
            try await export.backend.read(start..<start + Int64(chunk.range.count), into: buffer[chunk.range])
        }
        return chunks
    }

    /// Divides a read into data and holes; no chunks where all is data. Where that cannot be found out, the read itself tells what
    /// is wrong.
    private func findHoles(_ request: NBDRequest) async -> [NBDReadChunk] {
        let total = Int(request.length)
        var chunks: [NBDReadChunk] = []
        var done = 0
        while done < total, chunks.count < Self.maximumChunks {
            let start = request.range.lowerBound + Int64(done)
            let found = try? await export.backend.blockStatusAbove(start..<request.range.upperBound)
            guard let status = found?.status, status.length > 0 else { break }
            if done == 0, status.length >= Int64(total), !status.isZero { return [] }
            let range = done..<min(total, done + Int(status.length))
            if let last = chunks.last, last.isHole == status.isZero {
                chunks[chunks.count - 1].range = last.range.lowerBound..<range.upperBound
            } else {
                chunks.append(NBDReadChunk(range: range, isHole: status.isZero))
            }
            done = range.upperBound
        }
        if done < total {
            // The rest is data; it takes the place of the last chunk if that is data, or if there must not be more.
            var start = done
            if let last = chunks.last, !last.isHole || chunks.count == Self.maximumChunks {
                start = last.range.lowerBound
                chunks.removeLast()
            }
            chunks.append(NBDReadChunk(range: start..<total, isHole: false))
        }
        return chunks
    }

    private func cache(_ request: NBDRequest) async throws(Errno) {
        guard request.length > 0 else { return }
        let scratch = BufferPool.shared.take(count: Int(min(request.range.length, Self.cachePiece)))
        defer { BufferPool.shared.give(scratch) }
        for piece in request.range.pieces(ofAtMost: Self.cachePiece) {
            try await export.backend.read(piece, into: scratch[0..<Int(piece.length)])
        }
    }

    // MARK: Writing

    private func write(_ incoming: NBDIncoming) async throws(Errno) {
        let payload: IOBuffer
        switch incoming.payload {
        case .none: return
        case .pooled(let buffer): payload = buffer
        case .borrowed(let loan): payload = loan.buffer
        }
        defer { giveBack(incoming.payload) }
        let flags: WriteFlags = incoming.request.flags.contains(.fua) ? .forceUnitAccess : []
        try await export.backend.write(incoming.request.range, from: payload, flags: flags)
    }

    private func giveBack(_ payload: NBDIncoming.Payload) {
        switch payload {
        case .none: break
        case .pooled(let buffer): BufferPool.shared.give(buffer)
        case .borrowed(let loan): input.giveBack(loan)
        }
    }

    private func trim(_ request: NBDRequest) async throws(Errno) {
        try await export.backend.discard(request.range)
        if request.flags.contains(.fua) { try await export.backend.flush() }
    }

    private func writeZeroes(_ request: NBDRequest) async throws(Errno) {
        var flags: WriteFlags = []
        if request.flags.contains(.fua) { flags.insert(.forceUnitAccess) }
        if !request.flags.contains(.noHole) { flags.insert(.mayUnmap) }
        if request.flags.contains(.fastZero) { flags.insert(.noFallback) }
        try await export.backend.writeZeroes(request.range, flags: flags)
    }
}

/// A part of a read: data, or a hole that reads as zeroes; the range counts from the start of the read.
private struct NBDReadChunk {
    var range: Range<Int>
    var isHole: Bool
}

extension NBDRequest {
    /// The range of a request that was checked against the size of an export, and so fits.
    var range: ByteRange { Int64(offset)..<Int64(offset + length) }
}
