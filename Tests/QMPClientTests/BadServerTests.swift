import QMPClient
import Testing

@Suite struct BadServerTests {
    private static let negotiated = "{\"return\": {}}\r\n"

    /// What connecting to a server throws that sends these texts.
    private func connectError(_ texts: String...) async throws -> QMPClientError? {
        let server = try FakeServer()
        let serving = server.serve(texts)
        do {
            let client = try await QMPClient.connect(to: server.address, enabling: [.oob])
            await client.close()
            try await serving.value
            return nil
        } catch {
            try? await serving.value
            return error as? QMPClientError
        }
    }

    @Test func `a server that does not speak QMP`() async throws {
        #expect(try await connectError("") == .closed)
        #expect(try await connectError("{\"QMP\": {") == .closed)
        #expect(try await connectError("HTTP/1.1 400 Bad Request\r\n") != nil)
        #expect(try await connectError("[]") == .protocolViolation("the server sent an unknown message"))
        #expect(try await connectError("{\"return\": 1}") == .protocolViolation("the server did not greet"))
        #expect(
            try await connectError("{\"QMP\": {\"version\": {}, \"capabilities\": []}}") == .missingCapability("oob"))
        #expect(try await connectError(FakeServer.greeting) == .closed)
        #expect(
            try await connectError(FakeServer.greeting, "{\"error\": {\"class\": \"GenericError\", \"desc\": \"no\"}}")
                == .protocolViolation("the server refused negotiation: no"))
        #expect(
            try await connectError(FakeServer.greeting, FakeServer.greeting)
                == .protocolViolation("the server did not answer negotiation"))
        #expect(try await connectError(FakeServer.greeting, Self.negotiated) == nil)
    }

    /// What a command throws when a server answers it with this text.
    private func commandError(_ text: String) async throws -> (any Error)? {
        let server = try FakeServer()
        let serving = server.serve([FakeServer.greeting, Self.negotiated, text])
        let client = try await QMPClient.connect(to: server.address)
        var thrown: (any Error)?
        do {
            _ = try await client.execute("x")
        } catch {
            thrown = error
        }
        await client.close()
        try await serving.value
        return thrown
    }

    @Test func `a server that breaks off or talks nonsense`() async throws {
        #expect(try await commandError("") as? QMPClientError == .closed)
        #expect(try await commandError("{\"return\": {}, \"id\": 99}") as? QMPClientError == .closed)
        #expect(try await commandError("{\"return\": {}, \"id\": \"1\"}") as? QMPClientError == .closed)
        #expect(try await commandError("{\"return\": {}, \"id\": 1}") == nil)
        #expect(
            try await commandError("{\"error\": {\"class\": \"GenericError\", \"desc\": \"JSON\"}}") as? QMPClientError
                == .protocolViolation("the server could not read a command: JSON"))
        #expect(
            try await commandError("\u{1}") as? QMPClientError
                == .protocolViolation("the server sent no JSON: 3:1: JSON parse error, stray '\u{1}'"))
        #expect(
            try await commandError("{\"error\": {\"class\": \"DeviceNotFound\", \"desc\": \"gone\"}, \"id\": 1}")
                as? QMPError
                == QMPError(.deviceNotFound, "gone"))
    }
}
