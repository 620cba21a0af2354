import QMPClient
import QMPSchema
import StorageTestSupport
import Testing

@Suite struct QMPClientTests {
    @Test func `a command and its reply, with and without types`() async throws {
        try await withEchoServer { server in
            let client = try await QMPClient.connect(to: server.address)
            #expect(client.greeting.version == EchoServer.version)
            #expect(client.greeting.capabilities == ["oob"])
            #expect(try await client.execute("echo", ["a": ["é", .number(1.5)]]) == ["a": ["é", .number(1.5)]])
            #expect(try await client.execute("echo") == [:])
            let version = try await client.queryVersion()
            #expect(version.qemu.major == 11)
            #expect(version.package == "cairn")
            await client.close()
        }
    }

    @Test func `a command that fails throws the error of the server`() async throws {
        try await withEchoServer { server in
            let client = try await QMPClient.connect(to: server.address)
            await #expect(throws: QMPError(.commandNotFound, "The command nope has not been found")) {
                try await client.execute("nope")
            }
            #expect(try await client.execute("echo") == [:])
            await client.close()
        }
    }

    @Test func `many tasks share a client and get their own replies`() async throws {
        try await withEchoServer { server in
            let client = try await QMPClient.connect(to: server.address)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for task in 0..<20 {
                    group.addTask {
                        for round in 0..<50 {
                            let arguments: JSONObject = [
                                "task": .integer(Int64(task)), "round": .integer(Int64(round)),
                            ]
                            let reply = try await client.execute("echo", arguments)
                            #expect(reply == .object(arguments))
                        }
                    }
                }
                try await group.waitForAll()
            }
            await client.close()
        }
    }

    @Test func `events reach every sequence, and these end with the connection`() async throws {
        try await withEchoServer { server in
            let client = try await QMPClient.connect(to: server.address)
            let sequences = [client.events(), client.events()]
            for number in 0..<100 { await server.emit("TICK", ["number": .integer(Int64(number))]) }
            _ = try await client.execute("echo")
            await client.close()
            for sequence in sequences {
                var numbers: [JSON?] = []
                for await event in sequence { numbers.append(event.data?["number"]) }
                #expect(numbers == (0..<100).map { .integer(Int64($0)) })
            }
            for await _ in client.events() { Issue.record("an event after the end") }
        }
    }

    @Test func `out-of-band commands overtake`() async throws {
        try await withEchoServer { server in
            let client = try await QMPClient.connect(to: server.address, enabling: [.oob])
            async let waiting = client.execute("wait", ["a": 1])
            #expect(try await client.executeOutOfBand("open-gate") == [:])
            #expect(try await waiting == ["a": 1])
            await client.close()
        }
    }

    @Test func `a cancelled call ends at once and disturbs nobody`() async throws {
        try await withEchoServer { server in
            let client = try await QMPClient.connect(to: server.address, enabling: [.oob])
            let waiting = Task { try await client.execute("wait") }
            #expect(try await client.executeOutOfBand("open-gate") == [:])
            _ = try await waiting.value
            let cancelled = Task { try await client.execute("wait") }
            cancelled.cancel()
            await #expect(throws: CancellationError.self) { try await cancelled.value }
            #expect(try await client.executeOutOfBand("open-gate") == [:])
            #expect(try await client.execute("echo", ["a": 1]) == ["a": 1])
            await client.close()
        }
    }

    @Test func `a closed client refuses commands, and waiting ones throw`() async throws {
        try await withEchoServer { server in
            let client = try await QMPClient.connect(to: server.address, enabling: [.oob])
            let waiting = Task { try await client.execute("wait") }
            await Task.yield()
            await client.close()
            await #expect(throws: QMPClientError.closed) { try await waiting.value }
            await #expect(throws: QMPClientError.closed) { try await client.execute("echo") }
            await client.close()
            let other = try await QMPClient.connect(to: server.address, enabling: [.oob])
            _ = try await other.executeOutOfBand("open-gate")
            await other.close()
        }
    }

    @Test func `a client that is let go leaves, so that the next one gets in`() async throws {
        try await withEchoServer { server in
            for _ in 0..<20 {
                let client = try await QMPClient.connect(to: server.address)
                #expect(try await client.execute("echo") == [:])
            }
        }
    }

    @Test func `a client uses the loop of its caller`() async throws {
        try await withEchoServer { server in
            let address = server.address
            try await onLoop {
                let client = try await QMPClient.connect(to: address)
                #expect(try await client.execute("echo") == [:])
                await client.close()
            }
        }
    }

    @Test func `nobody listens`() async throws {
        let directory = TemporaryDirectory()
        await #expect(throws: QMPClientError.connection(.ENOENT)) {
            try await QMPClient.connect(to: .unix(path: directory.file("none")))
        }
    }
}
