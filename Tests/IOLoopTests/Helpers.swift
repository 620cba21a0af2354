import IOLoop
import Synchronization
import Testing

extension FileDescriptor {
    /// Writes all of `bytes`.
    func write(_ bytes: [UInt8], at offset: Int) async throws(Errno) {
        try await BufferPool.shared.withBuffer(count: bytes.count) { (buffer) async throws(Errno) in
            buffer.bytes.copyBytes(from: bytes)
            try await writeFully(from: buffer, at: offset)
        }
    }

    /// Up to `count` bytes.
    func bytes(_ count: Int, at offset: Int) async throws(Errno) -> [UInt8] {
        try await BufferPool.shared.withBuffer(count: count) { (buffer) async throws(Errno) in
            let read = try await readFully(into: buffer, at: offset)
            return Array(buffer[0..<read].bytes)
        }
    }
}

extension Socket {
    /// Sends all of `bytes`.
    func send(_ bytes: [UInt8]) async throws(Errno) {
        try await BufferPool.shared.withBuffer(count: bytes.count) { (buffer) async throws(Errno) in
            buffer.bytes.copyBytes(from: bytes)
            try await sendFully(from: buffer)
        }
    }

    /// The next `count` bytes, or fewer at the end.
    func bytes(_ count: Int) async throws(Errno) -> [UInt8] {
        try await BufferPool.shared.withBuffer(count: count) { (buffer) async throws(Errno) in
            let received = try await recvFully(into: buffer)
            return Array(buffer[0..<received].bytes)
        }
    }
}

/// Expects that `body` throws `expected`.
func expectErrno(
    _ expected: Errno, _ body: () async throws(Errno) -> Void, at location: SourceLocation = #_sourceLocation
) async {
    do throws(Errno) {
        try await body()
        Issue.record("nothing was thrown", sourceLocation: location)
    } catch {
        #expect(error == expected, sourceLocation: location)
    }
}

/// A value that the closures of several tasks share.
final class Shared<Value: Sendable>: Sendable {
    private let mutex: Mutex<Value>

    init(_ value: Value) {
        mutex = Mutex(value)
    }

    func withLock<Result: Sendable>(_ body: (inout Value) -> Result) -> Result {
        mutex.withLock { value in body(&value) }
    }
}
