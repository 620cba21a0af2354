import IOLoop
import StorageTestSupport
import Testing

@Suite struct LoopTests {
    @Test func `a file keeps what was written`() async throws {
        let directory = TemporaryDirectory()
        try await onLoop { () async throws(Errno) in
            let file = try await FileDescriptor.open(directory.file("a"), [.readWrite, .create])
            try await BufferPool.shared.withBuffer(count: 8192) { (buffer) async throws(Errno) in
                buffer.fill(7)
                try await file.writeFully(from: buffer, at: 100)
                buffer.fill(0)
                #expect(try await file.readFully(into: buffer, at: 200) == 8092)
                #expect(buffer[0..<8092].bytes.allSatisfy { $0 == 7 })
                #expect(buffer[8092...].isZero)
            }
            let status = try await file.statx()
            #expect(status.size == 8292)
            #expect(status.kind == .regular)
            try await file.close()
        }
    }

    @Test func `the graph actor runs on the main loop`() async throws {
        startMainLoop()
        await Task { @GraphActor in
            #expect(IOLoop.current === IOLoop.main)
            GraphActor.assertIsolated()
            assumeGraphActor()
        }.value
    }
}

private func assumeGraphActor() {
    GraphActor.shared.assumeIsolated { _ in }
}
