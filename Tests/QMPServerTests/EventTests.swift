import IOLoop
import JSON
import QMPProtocol
import QMPServer
import StorageTestSupport
import Testing

@Suite struct EventTests {
    /// The name and data of an event.
    private func event(_ message: JSON?) -> [JSON?] {
        guard case .object(let object)? = message, case .object(let time)? = object["timestamp"],
            case .integer(let seconds)? = time["seconds"], case .integer(let microseconds)? = time["microseconds"],
            seconds > 1_500_000_000, (0..<1_000_000).contains(microseconds)
        else { return [] }
        return [object["event"], object["data"]]
    }

    @Test func `every client that has negotiated gets an event, others do not`() async throws {
        try await onMainLoop { () async throws in
            let server = await TestServer()
            let clients = [
                TestClient(try await server.socketPair()), TestClient(try await server.socketPair(pretty: true)),
            ]
            let silent = TestClient(try await server.socketPair())
            for client in clients { try await client.negotiate() }
            _ = try await silent.next()
            await server.emit("STOP", ["a": ["é"]])
            await server.emit("RESUME")
            for client in clients {
                #expect(event(try await client.next()) == ["STOP", ["a": ["é"]]])
                #expect(event(try await client.next()) == ["RESUME", nil])
                try await client.close()
            }
            try silent.socket.shutdown(.sending)
            #expect(try await silent.rest() == "")
            try await silent.close()
            await server.shutdown()
        }
    }

    @Test func `a client that does not read is dropped with a log line, and others are not disturbed`() async throws {
        try await onMainLoop { () async throws in
            let server = await TestServer()
            let slow = TestClient(try await server.socketPair())
            let fast = TestClient(try await server.socketPair())
            try await slow.negotiate()
            try await fast.negotiate()
            let text = String(repeating: "x", count: 1 << 20)
            let count = QMPServer.outputLimit / text.utf8.count + 1
            for _ in 0..<count {
                await server.emit("BIG", ["text": .string(text)])
                var received = 0
                while received < text.utf8.count { received += try await fast.receive().count }
            }
            try await fast.send("{\"execute\":\"echo\",\"id\":\"last\"}")
            while try await !fast.receive().contains(UInt8(ascii: "l")) {}
            #expect(server.log.lines.count == 1)
            #expect(server.log.lines.first?.hasPrefix("monitor p, client 1: dropped, since it does not read: ") == true)
            let received = try await slow.rest()
            #expect(received.utf8.count < 2 * QMPServer.outputLimit)
            try await slow.close()
            try await fast.close()
            await server.shutdown()
        }
    }

    @Test func `a client that does not read its replies gets no more commands executed`() async throws {
        try await onMainLoop { () async throws in
            let server = await TestServer()
            let client = TestClient(try await server.socketPair())
            try await client.negotiate()
            let big = "{\"execute\":\"big\",\"arguments\":{\"size\":1000000}}"
            try await client.send(String(repeating: big, count: 12))
            let size = "{\"return\": \"\"}\r\n".utf8.count + 1_000_000
            var received = 0
            // Whatever is on its way in the kernel and the server is far less than all replies.
            while received < size {
                received += try await client.receive().count
                #expect(server.commands.total <= received / size + 4)
            }
            while received < 12 * size { received += try await client.receive().count }
            #expect(received == 12 * size)
            try await client.close()
            await server.shutdown()
        }
    }
}
