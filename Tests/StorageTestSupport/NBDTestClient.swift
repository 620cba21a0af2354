import Glibc
import IOLoop
import NBDProtocol

/// What a server sent that a client did not expect.
package struct NBDTestFailure: Error, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }
}

/// A small NBD client, independent of the server's code but for the protocol's constants. Use it on one loop.
package final class NBDTestClient {
    package let socket: Socket
    package var headers = NBDHeaderMode.simple
    private var isClosed = false

    /// Connects, reads the greeting, and sends the flags if there are any.
    package init(path: String, flags: UInt32? = 3) async throws {
        socket = try await Socket.connect(.unix(path: path))
        let greeting = try await receive(18)
        guard greeting == NBD.greeting else { throw NBDTestFailure("greeting \(greeting)") }
        if let flags { try await send(big(flags)) }
    }

    /// A client in the transmission phase.
    package static func open(
        _ path: String, _ name: String = "disk", headers: NBDHeaderMode = .structured, contexts: [String] = [],
        blockSize: Bool = true
    ) async throws -> NBDTestClient {
        let client = try await NBDTestClient(path: path)
        try await client.enter(name, headers: headers, contexts: contexts, blockSize: blockSize)
        return client
    }

    package func enter(
        _ name: String, headers: NBDHeaderMode, contexts: [String] = [], blockSize: Bool = true
    ) async throws {
        self.headers = headers
        if headers == .structured { try await acknowledged(8) }
        if headers == .extended { try await acknowledged(11) }
        let prefix = big(UInt32(name.utf8.count)) + Array(name.utf8)
        if !contexts.isEmpty {
            let queries = contexts.flatMap { big(UInt32($0.utf8.count)) + Array($0.utf8) }
            try await acknowledged(10, prefix + big(UInt32(contexts.count)) + queries)
        }
        try await acknowledged(7, prefix + (blockSize ? [0, 1, 0, 3] : [0, 0]))
    }

    package func close() {
        guard !isClosed else { return }
        isClosed = true
        socket.descriptor.closeNow()
    }

    deinit { close() }

    // MARK: Bytes

    package func send(_ bytes: [UInt8]) async throws {
        let buffer = BufferPool.shared.take(count: bytes.count)
        defer { BufferPool.shared.give(buffer) }
        bytes.withUnsafeBytes { buffer.copy(from: IOBuffer($0)) }
        try await socket.sendFully(from: buffer)
    }

    /// Exactly `count` bytes; throws at the end of the stream.
    package func receive(_ count: Int) async throws -> [UInt8] {
        let buffer = BufferPool.shared.take(count: count)
        defer { BufferPool.shared.give(buffer) }
        let got = try await socket.recvFully(into: buffer)
        guard got == count else { throw NBDTestFailure("the server closed the connection") }
        return Array(buffer.bytes)
    }

    /// Whether the server has closed the connection, after anything that it still sent.
    package func isAtEnd() async -> Bool {
        let buffer = BufferPool.shared.take(count: 4096)
        defer { BufferPool.shared.give(buffer) }
        while true {
            guard let count = try? await socket.recv(into: buffer) else { return true }
            if count == 0 { return true }
        }
    }

    package func integer<T: FixedWidthInteger>(_ type: T.Type) async throws -> T {
        try await receive(T.bitWidth / 8).reduce(0) { $0 << 8 | T($1) }
    }

    // MARK: Options

    /// Sends an option and returns the type and data of each reply.
    package func option(_ code: UInt32, _ data: [UInt8] = []) async throws -> [(type: UInt32, data: [UInt8])] {
        try await send(big(NBD.optionMagic) + big(code) + big(UInt32(data.count)) + data)
        var replies: [(type: UInt32, data: [UInt8])] = []
        while true {
            let magic = try await integer(UInt64.self)
            let echoed = try await integer(UInt32.self)
            guard magic == NBD.optionReplyMagic, echoed == code else { throw NBDTestFailure("option reply") }
            let type = try await integer(UInt32.self)
            let data = try await receive(Int(try await integer(UInt32.self)))
            replies.append((type, data))
            if type == 1 || type >= 0x8000_0000 { return replies }
        }
    }

    private func acknowledged(_ code: UInt32, _ data: [UInt8] = []) async throws {
        let replies = try await option(code, data)
        guard replies.last?.type == 1 else {
            let text = String(decoding: replies.last?.data ?? [], as: UTF8.self)
            throw NBDTestFailure("option \(code): \(text)")
        }
    }

    // MARK: Requests

    /// Sends a request without waiting for its reply.
    package func post(
        _ command: NBDCommand, _ offset: UInt64, _ length: UInt64, flags: NBDCommandFlags = [], cookie: UInt64 = 1,
        payload: [UInt8] = []
    ) async throws {
        var flags = flags
        if headers == .extended, command == .write { flags.insert(.payloadLength) }
        let request = NBDRequest(
            flags: flags, type: command.rawValue, cookie: cookie, offset: offset, length: length)
        try await send(encoded(request) + payload)
    }

    package func encoded(_ request: NBDRequest) -> [UInt8] {
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 64, alignment: 8)
        defer { memory.deallocate() }
        var out = OutputRawSpan(buffer: memory, initializedCount: 0)
        request.encode(headers: headers, to: &out)
        let count = out.finalize(for: memory)
        return Array(memory[..<count])
    }

    /// Sends a request and returns its reply.
    package func call(
        _ command: NBDCommand, _ offset: UInt64, _ length: UInt64, flags: NBDCommandFlags = [], payload: [UInt8] = []
    ) async throws -> NBDTestReply {
        try await post(command, offset, length, flags: flags, payload: payload)
        let reply = try await reply(readLength: command == .read ? Int(length) : 0)
        guard reply.cookie == 1 else { throw NBDTestFailure("cookie \(reply.cookie)") }
        return reply
    }

    /// Reads data, holes filled with zeroes; throws the error of the reply.
    package func read(_ offset: UInt64, _ length: Int, flags: NBDCommandFlags = []) async throws -> [UInt8] {
        let reply = try await call(.read, offset, UInt64(length), flags: flags)
        guard reply.error == 0 else { throw NBDTestFailure("error \(reply.error): \(reply.message)") }
        return try reply.data(offset, length)
    }

    /// The next reply, whole.
    package func reply(readLength: Int = 0) async throws -> NBDTestReply {
        var reply = NBDTestReply()
        while true {
            let magic = try await integer(UInt32.self)
            switch magic {
            case NBD.simpleReplyMagic:
                reply.error = try await integer(UInt32.self)
                reply.cookie = try await integer(UInt64.self)
                if reply.error == 0, readLength > 0 {
                    reply.chunks.append(.data(nil, try await receive(readLength)))
                }
                return reply
            case NBD.structuredReplyMagic, NBD.extendedReplyMagic:
                if try await chunk(isExtended: magic == NBD.extendedReplyMagic, &reply) { return reply }
            default: throw NBDTestFailure("reply magic \(magic)")
            }
        }
    }

    private func chunk(isExtended: Bool, _ reply: inout NBDTestReply) async throws -> Bool {
        guard isExtended == (headers == .extended) else { throw NBDTestFailure("wrong kind of header") }
        let flags = try await integer(UInt16.self)
        let type = try await integer(UInt16.self)
        reply.cookie = try await integer(UInt64.self)
        if isExtended { reply.offset = try await integer(UInt64.self) }
        let length = isExtended ? Int(try await integer(UInt64.self)) : Int(try await integer(UInt32.self))
        var payload = TestReader(try await receive(length))
        switch NBDReplyType(rawValue: type) {
        case .some(.none): break
        case .offsetData:
            let offset = payload.integer(UInt64.self)
            reply.chunks.append(.data(offset, payload.rest))
        case .offsetHole:
            let offset = payload.integer(UInt64.self)
            reply.chunks.append(.hole(offset, Int(payload.integer(UInt32.self))))
        case .blockStatus, .blockStatusExtended:
            let id = payload.integer(UInt32.self)
            if isExtended { _ = payload.integer(UInt32.self) }
            var extents: [NBDExtent] = []
            while !payload.rest.isEmpty {
                let length = isExtended ? payload.integer(UInt64.self) : UInt64(payload.integer(UInt32.self))
                let status = isExtended ? UInt32(payload.integer(UInt64.self)) : payload.integer(UInt32.self)
                extents.append(NBDExtent(length: length, status: status))
            }
            reply.chunks.append(.status(id, extents))
        case .error, .errorOffset:
            reply.error = payload.integer(UInt32.self)
            let count = Int(payload.integer(UInt16.self))
            reply.message = String(decoding: payload.rest.prefix(count), as: UTF8.self)
        case nil: throw NBDTestFailure("chunk type \(type)")
        }
        return flags & 1 != 0
    }
}

/// A parsed reply.
package struct NBDTestReply {
    package enum Chunk: Equatable {
        case data(UInt64?, [UInt8])
        case hole(UInt64, Int)
        case status(UInt32, [NBDExtent])
    }

    package var cookie: UInt64 = 0
    package var offset: UInt64 = 0
    package var error: UInt32 = 0
    package var message = ""
    package var chunks: [Chunk] = []

    /// The bytes that the chunks give to a read.
    package func data(_ offset: UInt64, _ length: Int) throws -> [UInt8] {
        var result = [UInt8](repeating: 0xEE, count: length)
        var covered = 0
        for chunk in chunks {
            switch chunk {
            case .data(let start, let bytes):
                let index = Int((start ?? offset) - offset)
                result.replaceSubrange(index..<index + bytes.count, with: bytes)
                covered += bytes.count
            case .hole(let start, let count):
                let index = Int(start - offset)
                result.replaceSubrange(index..<index + count, with: repeatElement(0, count: count))
                covered += count
            case .status: break
            }
        }
        guard covered == length, result.count == length else { throw NBDTestFailure("covered \(covered) of \(length)") }
        return result
    }

    /// The extents of a context.
    package func extents(_ id: UInt32) -> [NBDExtent]? {
        for case .status(id, let extents) in chunks { return extents }
        return nil
    }
}

package struct TestReader {
    package var rest: [UInt8]

    package init(_ bytes: [UInt8]) { rest = bytes }

    package mutating func integer<T: FixedWidthInteger>(_ type: T.Type) -> T {
        let size = T.bitWidth / 8
        defer { rest.removeFirst(min(size, rest.count)) }
        return rest.prefix(size).reduce(0) { $0 << 8 | T($1) }
    }
}

/// Big-endian bytes.
package func big<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
    withUnsafeBytes(of: value.bigEndian) { Array($0) }
}
