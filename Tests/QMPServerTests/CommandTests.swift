import IOLoop
import JSON
import QMPServer
import StorageTestSupport
import Testing

@Suite struct CommandTests {
    /// Runs `body` with a client of a fresh server.
    private func withClient(
        pretty: Bool = false, _ body: @escaping @Sendable (TestServer, sending TestClient) async throws -> Void
    ) async throws {
        try await onMainLoop { () async throws in
            let server = await TestServer()
            let client = TestClient(try await server.socketPair(pretty: pretty))
            try await body(server, client)
            await server.shutdown()
        }
    }

    @Test func `the greeting, negotiation and replies are bytes that scripts know`() async throws {
        try await withClient { _, client in
            try await client.send(
                """
                {"execute":"qmp_capabilities"}{"execute":"echo","arguments":{"b":1,"a":"é"},"id":1}
                {'execute':'fail','id':[]}nope {"execute":"nope"}[1:]
                """)
            try client.socket.shutdown(.sending)
            let expected = [
                #"{"QMP": {"version": {"qemu": {"micro": 3, "minor": 1, "major": 11}, "package": ""}, "capabilities": ["oob"]}}"#,
                #"{"return": {}}"#,
                #"{"return": {"a": "\u00E9", "b": 1}, "id": 1}"#,
                #"{"id": [], "error": {"class": "DeviceNotFound", "desc": "no such thing"}}"#,
                #"{"error": {"class": "GenericError", "desc": "2:27: JSON parse error, invalid keyword 'nope'"}}"#,
                #"{"error": {"class": "CommandNotFound", "desc": "The command nope has not been found"}}"#,
                #"{"error": {"class": "GenericError", "desc": "2:53: JSON parse error, expected ',' or ']'"}}"#,
                "",
            ]
            #expect(
                try await client.rest().split(separator: "\r\n", omittingEmptySubsequences: false).map(String.init)
                    == expected)
            try await client.close()
        }
    }

    @Test func `byte by byte makes no difference`() async throws {
        try await withClient { _, client in
            for byte in "{\"execute\":\"qmp_capabilities\"} {'execute':'echo','arguments':{'a':'\\u00e9'}}".utf8 {
                try await client.send([byte])
            }
            _ = try await client.next()
            #expect(try await client.next() == ["return": [:]])
            #expect(try await client.next() == ["return": ["a": "é"]])
            try await client.close()
        }
    }

    @Test func `a pretty monitor spreads messages over lines`() async throws {
        try await withClient(pretty: true) { _, client in
            try await client.send("{\"execute\":\"qmp_capabilities\"}")
            try client.socket.shutdown(.sending)
            let text = try await client.rest()
            #expect(text.hasPrefix("{\r\n    \"QMP\": {\r\n"))
            #expect(text.hasSuffix("}\r\n{\r\n    \"return\": {\r\n    }\r\n}\r\n"))
            try await client.close()
        }
    }

    @Test func `a thousand commands in one write are answered in order, one at a time`() async throws {
        try await withClient { server, client in
            try await client.negotiate()
            let text = (0..<1000).map { "{\"execute\":\"echo\",\"id\":\($0)}" }.joined()
            try await client.send(text)
            for id in 0..<1000 { #expect(try await client.next() == ["return": [:], "id": .integer(Int64(id))]) }
            #expect(server.commands.mostRunning == 1)
            try await client.close()
        }
    }

    @Test func `a control byte leads back to a known state`() async throws {
        try await withClient { _, client in
            try await client.negotiate()
            try await client.send(
                Array("{\"execute\":\"ec".utf8) + [0xFF] + Array("{\"execute\":\"echo\",\"id\":7}".utf8))
            let description = "1:42: JSON parse error, stray '\"ec\u{FFFD}'"
            #expect(try await client.next() == ["error": ["class": "GenericError", "desc": .string(description)]])
            #expect(try await client.next() == ["return": [:], "id": 7])
            try await client.close()
        }
    }

    @Test func `a command without a reply on success`() async throws {
        try await withClient { _, client in
            try await client.negotiate()
            #expect(
                try await client.ask("{\"execute\":\"quiet\",\"id\":1}{\"execute\":\"echo\",\"id\":2}") == [
                    "return": [:], "id": 2,
                ])
            try await client.close()
        }
    }

    @Test func `out-of-band commands overtake, and others cannot be sent that way`() async throws {
        try await withClient { server, client in
            try await client.negotiate(oob: true)
            let queued = (0..<8).map { "{\"execute\":\"wait\",\"id\":\($0)}" }.joined()
            try await client.send(queued)
            #expect(
                try await client.ask("{\"exec-oob\":\"echo\",\"id\":\"x\"}") == [
                    "error": ["class": "GenericError", "desc": "The command echo does not support OOB"], "id": "x",
                ])
            for id in 0..<8 {
                try await client.send("{\"exec-oob\":\"open-gate\",\"id\":\"open \(id)\"}")
                let replies = [try await client.next(), try await client.next()]
                #expect(replies.contains(["return": [:], "id": .string("open \(id)")]))
                #expect(replies.contains(["return": [:], "id": .integer(Int64(id))]))
            }
            try await client.close()
        }
    }

    @Test func `without out-of-band execution the commands of two clients take turns`() async throws {
        try await onMainLoop { () async throws in
            let server = await TestServer()
            let clients = [TestClient(try await server.socketPair()), TestClient(try await server.socketPair())]
            for client in clients { try await client.negotiate() }
            for client in clients {
                try await client.send((0..<50).map { "{\"execute\":\"echo\",\"id\":\($0)}" }.joined())
            }
            for client in clients {
                for id in 0..<50 { #expect(try await client.next() == ["return": [:], "id": .integer(Int64(id))]) }
                try await client.close()
            }
            #expect(server.commands.mostRunning == 1)
            await server.shutdown()
        }
    }
}
