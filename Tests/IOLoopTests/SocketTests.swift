import Glibc
import IOLoop
import StorageTestSupport
import Testing

@Suite struct SocketTests {
    static let payloads = [0, 1, 4096, 300_001]

    /// Sends `bytes` from a client to a server, back, and checks both ends.
    private func echo(through address: SocketAddress) async throws {
        try await onLoop { () async throws in
            let listener = try Socket.listen(address)
            let target = try listener.localAddress()
            let server = Task(executorPreference: IOLoop.required) {
                let connection = try await listener.accept()
                try await BufferPool.shared.withBuffer(count: 10_000) { (buffer) async throws(Errno) in
                    while true {
                        let count = try await connection.recv(into: buffer)
                        if count == 0 { break }
                        try await connection.sendFully(from: buffer[0..<count])
                    }
                }
                try await connection.close()
            }
            let client = try await Socket.connect(target)
            #expect(try client.peerAddress() == target)
            var random = SeededGenerator(seed: 5)
            for size in SocketTests.payloads {
                let bytes = random.bytes(size)
                let sender = Task(executorPreference: IOLoop.required) { try await client.send(bytes) }
                #expect(try await client.bytes(size) == bytes)
                try await sender.value
            }
            try client.shutdown(.sending)
            #expect(try await client.bytes(1) == [])
            try await server.value
            try await client.close()
            try await listener.close()
        }
    }

    @Test func `echo over a Unix socket`() async throws {
        let directory = TemporaryDirectory()
        try await echo(through: .unix(path: directory.file("s")))
    }

    @Test func `echo over an abstract socket`() async throws {
        try await echo(through: .abstract(name: "cairn-test-\(getpid())"))
    }

    @Test(arguments: ["127.0.0.1", "::1"]) func `echo over TCP`(host: String) async throws {
        do {
            try await echo(through: .ip(host: host, port: 0))
        } catch let error as Errno where error == .EADDRNOTAVAIL && host == "::1" {
            // This machine has no version 6.
        }
    }

    @Test func `vectored sends keep the order`() async throws {
        try await onLoop { () async throws in
            let (left, right) = try Socket.pair()
            try left.setSendBuffer(8192)
            var random = SeededGenerator(seed: 6)
            let parts = (0..<200).map { _ in random.bytes(Int.random(in: 0...3000, using: &random)) }
            let expected = parts.flatMap { $0 }
            let receiver = Task(executorPreference: IOLoop.required) { try await right.bytes(2 * expected.count) }
            let buffers = parts.map { part in
                let buffer = BufferPool.shared.take(count: part.count)
                buffer.bytes.copyBytes(from: part)
                return buffer
            }
            try await left.sendFully(buffers)
            for index in stride(from: 0, to: buffers.count, by: 2) {
                try await left.sendFully(buffers[index], buffers[index + 1])
            }
            for buffer in buffers { BufferPool.shared.give(buffer) }
            #expect(try await receiver.value == expected + expected)
            try await left.close()
            try await right.close()
        }
    }

    @Test func `a peer that is gone is an error`() async throws {
        try await onLoop { () async throws(Errno) in
            let (left, right) = try Socket.pair()
            try await right.close()
            await expectErrno(.EPIPE) { () async throws(Errno) in try await left.send([1, 2, 3]) }
            #expect(try await left.bytes(1) == [])
            try await left.close()
            await expectErrno(.ENOENT) { () async throws(Errno) in
                _ = try await Socket.connect(.unix(path: "/nonexistent/socket"))
            }
            await expectErrno(.ENAMETOOLONG) { () async throws(Errno) in
                _ = try await Socket.connect(.unix(path: String(repeating: "x", count: 108)))
            }
            await expectErrno(.EINVAL) { () async throws(Errno) in
                _ = try await Socket.connect(.ip(host: "example.invalid", port: 1))
            }
        }
    }

    @Test func `a port nobody listens at refuses`() async throws {
        try await onLoop { () async throws(Errno) in
            let listener = try Socket.listen(.ip(host: "127.0.0.1", port: 0))
            let address = try listener.localAddress()
            #expect(throws: Errno.EADDRINUSE) { _ = try Socket.listen(address) }
            // It keeps the port, so that no other process gets it, but listens no more.
            #expect(shutdown(listener.descriptor.rawValue, Int32(SHUT_RDWR)) == 0)
            defer { listener.descriptor.closeNow() }
            await expectErrno(.ECONNREFUSED) { () async throws(Errno) in _ = try await Socket.connect(address) }
        }
    }

    @Test func `a socket made non-blocking by others still waits`() async throws {
        try await onLoop { () async throws in
            let (left, right) = try Socket.pair()
            for socket in [left, right] { _ = fcntl(socket.descriptor.rawValue, F_SETFL, O_NONBLOCK) }
            let receiver = Task(executorPreference: IOLoop.required) { try await left.bytes(3) }
            await Task.yield()
            try await right.send([1, 2, 3])
            #expect(try await receiver.value == [1, 2, 3])
            try await left.close()
            try await right.close()
        }
    }

    @Test func `descriptors travel with bytes`() async throws {
        let directory = TemporaryDirectory()
        try await onLoop { () async throws(Errno) in
            let (left, right) = try Socket.pair()
            let file = try await FileDescriptor.open(directory.file("fd"), [.readWrite, .create])
            try await file.write([7, 8], at: 0)
            try await BufferPool.shared.withBuffer(count: 10) { (buffer) async throws(Errno) in
                buffer.fill(3)
                try await left.send(from: buffer[0..<4], descriptors: [file])
                try await left.send([5])
                var received: [FileDescriptor] = []
                #expect(try await right.recv(into: buffer[0..<4], descriptors: &received) == 4)
                #expect(received.count == 1)
                for descriptor in received {
                    #expect(try await descriptor.bytes(2, at: 0) == [7, 8])
                    try await descriptor.close()
                }
                received = []
                #expect(try await right.recv(into: buffer, descriptors: &received) == 1)
                #expect(received.isEmpty)
            }
            try await file.close()
            try await left.close()
            try await right.close()
        }
    }

    @Test func `numeric addresses and names resolve`() async throws {
        try await onLoop { () async throws(ResolutionError) in
            #expect(
                try await SocketAddress.resolve(host: "127.0.0.1", service: "10809")
                    == [.ip(host: "127.0.0.1", port: 10809)])
            #expect(
                try await SocketAddress.resolve(host: "localhost", service: "1", family: .ipv4)
                    == [.ip(host: "127.0.0.1", port: 1)])
            let everywhere = try await SocketAddress.resolve(
                host: "", service: "0", family: .ipv4, forListening: true)
            #expect(everywhere == [.ip(host: "0.0.0.0", port: 0)])
            do throws(ResolutionError) {
                _ = try await SocketAddress.resolve(host: "127.0.0.1", service: "no-such-service")
                Issue.record("a service that does not exist has an address")
            } catch {
                #expect(!error.description.isEmpty)
            }
        }
    }

    @Test func `addresses print as people write them`() {
        #expect(SocketAddress.ip(host: "::1", port: 5).description == "[::1]:5")
        #expect(SocketAddress.ip(host: "1.2.3.4", port: 5).description == "1.2.3.4:5")
        #expect(SocketAddress.unix(path: "/a").description == "/a")
        #expect(SocketAddress.abstract(name: "a").description == "@a")
    }
}
