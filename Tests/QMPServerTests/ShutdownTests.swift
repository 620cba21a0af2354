import IOLoop
import JSON
import QMPServer
import StorageTestSupport
import Testing

@Suite struct ShutdownTests {
    @Test func `the command that runs ends and is answered, those that wait are dropped`() async throws {
        try await onMainLoop { () async throws in
            let server = await TestServer()
            let client = TestClient(try await server.socketPair())
            let other = TestClient(try await server.socketPair())
            let idle = TestClient(try await server.socketPair())
            try await client.negotiate(oob: true)
            try await other.negotiate()
            try await idle.negotiate()
            try await client.send("{\"execute\":\"wait\",\"id\":1}{\"execute\":\"echo\",\"id\":2}")
            while server.commands.total == 0 { await Task.yield() }
            try await other.send("{\"execute\":\"echo\",\"id\":3}")
            let shutdown = Task { await server.shutdown() }
            // An idle client is gone as soon as the server stops.
            #expect(try await idle.rest() == "")
            server.commands.gate.signal()
            await shutdown.value
            #expect(try await other.rest() == "")
            #expect(try await client.rest() == "{\"return\": {}, \"id\": 1}\r\n")
            #expect(server.commands.total == 1)
            try await client.close()
            try await other.close()
            try await idle.close()
        }
    }

    @Test func `what waits to be sent is sent`() async throws {
        try await onMainLoop { () async throws in
            let server = await TestServer()
            let client = TestClient(try await server.socketPair())
            try await client.negotiate()
            try await client.send("{\"execute\":\"big\",\"arguments\":{\"size\":3000000}}")
            while server.commands.total == 0 { await Task.yield() }
            let shutdown = Task { await server.shutdown(within: .seconds(3600)) }
            #expect(try await client.rest().utf8.count == "{\"return\": \"\"}\r\n".utf8.count + 3_000_000)
            await shutdown.value
            try await client.close()
        }
    }

    @Test func `a client that does not read holds it up only so long`() async throws {
        try await onMainLoop { () async throws in
            let server = await TestServer()
            let client = TestClient(try await server.socketPair())
            try await client.negotiate()
            try await client.send("{\"execute\":\"big\",\"arguments\":{\"size\":3000000}}")
            while server.commands.total == 0 { await Task.yield() }
            await server.shutdown(within: .milliseconds(10))
            #expect(try await client.rest().utf8.count < 3_000_000)
            try await client.close()
        }
    }

    @Test func `a server without clients`() async throws {
        try await onMainLoop { () async throws in
            let server = await TestServer()
            try await server.listen()
            await server.shutdown()
            await server.shutdown()
        }
    }
}
