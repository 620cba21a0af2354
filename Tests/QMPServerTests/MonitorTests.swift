import Foundation
import IOLoop
import JSON
import QMPServer
import StorageTestSupport
import Testing

@Suite struct MonitorTests {
    /// Runs `body` with a fresh server that listens.
    private func withServer(_ body: @escaping @Sendable (TestServer) async throws -> Void) async throws {
        try await onMainLoop { () async throws in
            let server = await TestServer()
            try await server.listen()
            try await body(server)
            await server.shutdown()
            #expect(await server.server.monitors.isEmpty)
        }
    }

    @Test func `a second client is greeted when the first has left`() async throws {
        try await withServer { server in
            let first = try await TestClient.connect(server.path)
            try await first.negotiate()
            let second = try await TestClient.connect(server.path)
            try await second.send("{\"execute\":\"qmp_capabilities\"}{\"execute\":\"echo\",\"id\":2}")
            #expect(try await first.ask("{\"execute\":\"echo\",\"id\":1}") == ["return": [:], "id": 1])
            try await first.close()
            guard case .object(let greeting)? = try await second.next() else {
                Issue.record("no greeting")
                return
            }
            #expect(greeting["QMP"] != nil)
            #expect(try await second.next() == ["return": [:]])
            #expect(try await second.next() == ["return": [:], "id": 2])
            try await second.close()
        }
    }

    @Test func `a client that has sent everything gets all replies before the next one is greeted`() async throws {
        try await withServer { server in
            let first = try await TestClient.connect(server.path)
            try await first.send(
                "{\"execute\":\"qmp_capabilities\"}{\"execute\":\"wait\"}{\"execute\":\"echo\",\"id\":1}")
            try first.socket.shutdown(.sending)
            let second = try await TestClient.connect(server.path)
            server.commands.gate.signal()
            let text = try await first.rest()
            #expect(text.hasSuffix("{\"return\": {}}\r\n{\"return\": {}}\r\n{\"return\": {}, \"id\": 1}\r\n"))
            try await second.negotiate()
            try await first.close()
            try await second.close()
        }
    }

    @Test func `the reply to a client that has left goes nowhere, and the next one is greeted at once`() async throws {
        try await withServer { server in
            let first = try await TestClient.connect(server.path)
            try await first.negotiate()
            try await first.send("{\"execute\":\"wait\",\"id\":\"lost\"}")
            while server.commands.total == 0 { await Task.yield() }
            try await first.close()
            let second = try await TestClient.connect(server.path)
            try await second.negotiate()
            server.commands.gate.signal()
            #expect(try await second.ask("{\"execute\":\"echo\",\"id\":2}") == ["return": [:], "id": 2])
            try second.socket.shutdown(.sending)
            #expect(try await second.rest() == "")
            try await second.close()
        }
    }

    @Test func `negotiation and the parser begin anew with each client`() async throws {
        try await withServer { server in
            let first = try await TestClient.connect(server.path)
            try await first.negotiate(oob: true)
            try await first.send("\n\n{\"execute\":")
            try await first.close()
            let second = try await TestClient.connect(server.path)
            _ = try await second.next()
            let reply = try await second.ask("{\"exec-oob\":\"open-gate\"}")
            #expect(
                reply == [
                    "error": ["class": "GenericError", "desc": "QMP input member 'exec-oob' is unexpected"]
                ])
            try await second.close()
        }
    }

    @Test func `a storm of clients that come and go leaves nothing behind`() async throws {
        let server = await TestServer()
        try await onMainLoop {
            try await server.listen()
            for round in 0..<200 {
                let client = try await TestClient.connect(server.path)
                switch round % 4 {
                case 0: break
                case 1:
                    try? await client.send(
                        "{\"execute\":\"qmp_capabilities\"}{\"execute\":\"big\",\"arguments\":{\"size\":100000}}")
                case 2: try? await client.send("{\"execute\":\"qmp_")
                default: _ = try await client.next()
                }
                try await client.close()
            }
            let client = try await TestClient.connect(server.path)
            try await client.negotiate()
            #expect(try await client.ask("{\"execute\":\"echo\"}") == ["return": [:]])
            try await client.close()
            await server.shutdown()
        }
        // The server's ends of connections carry the path of the listening socket.
        let sockets = try String(contentsOfFile: "/proc/net/unix", encoding: .utf8)
        #expect(!sockets.contains(server.path))
    }

    @Test func `a socket file in the way is replaced, and removed in the end`() async throws {
        let server = await TestServer()
        try await onMainLoop { () async throws in
            let stale = try Socket.listen(.unix(path: server.path))
            try await stale.close()
            try await server.listen()
            let client = try await TestClient.connect(server.path)
            try await client.negotiate()
            try await client.close()
            await server.shutdown()
            await #expect(throws: Errno.ENOENT) { try await Socket.connect(.unix(path: server.path)) }
        }
    }

    @Test func `a monitor over TCP`() async throws {
        try await onMainLoop { () async throws in
            let server = await TestServer()
            let listener = try Socket.listen(.ip(host: "127.0.0.1", port: 0))
            let address = try listener.localAddress()
            await server.server.addMonitor(id: "tcp", transport: .listener(listener))
            let client = TestClient(try await Socket.connect(address))
            try await client.negotiate()
            #expect(try await client.ask("{\"execute\":\"echo\",\"id\":1.5}") == ["return": [:], "id": .number(1.5)])
            try await client.close()
            await server.shutdown()
        }
    }

    @Test func `a monitor over two streams`() async throws {
        try await onMainLoop { () async throws in
            let server = await TestServer()
            let (input, theirInput) = try Socket.pair()
            let (output, theirOutput) = try Socket.pair()
            let transport = MonitorTransport.streams(input: theirInput.descriptor, output: theirOutput.descriptor)
            await server.server.addMonitor(id: "stdio", transport: transport)
            try await TestClient(input).send("{\"execute\":\"qmp_capabilities\",\"id\":1}\n{\"execute\":\"echo\"}")
            let client = TestClient(output)
            _ = try await client.next()
            #expect(try await client.next() == ["return": [:], "id": 1])
            #expect(try await client.next() == ["return": [:]])
            await server.shutdown()
            for socket in [input, theirInput, output, theirOutput] { try await socket.close() }
        }
    }

    @Test func `waiting for the first client`() async throws {
        try await withServer { server in
            let monitor = await server.server.monitors[0]
            let waiter = Task { await monitor.waitForClient() }
            let client = try await TestClient.connect(server.path)
            await waiter.value
            #expect(await monitor.isConnected)
            try await client.close()
        }
    }
}
