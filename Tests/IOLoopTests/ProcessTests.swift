import Glibc
import IOLoop
import StorageTestSupport
import Testing

/// What needs a process of its own: counting descriptors, signals to the process, and ending it.
@Suite struct ProcessTests {
    @Test func `loops, files, sockets and signals leave no descriptor open`() async {
        await #expect(processExitsWith: .success) {
            let directory = TemporaryDirectory()
            try await exercise(directory)
            let before = openFileDescriptorCount()
            for _ in 0..<20 { try await exercise(directory) }
            #expect(openFileDescriptorCount() == before)
            #expect(BufferPool.shared.liveCount == 0)
        }
    }

    @Test func `signals to the process are waited for in main`() async {
        await #expect(processExitsWith: .exitCode(15)) {
            // Threads of the test process do not block signals, so this one is sent to a loop's thread.
            try await withLoop { _ in
                let source = try SignalSource([SIGINT, SIGTERM, SIGHUP])
                pthread_kill(pthread_self(), SIGTERM)
                exit(try await source.next())
            }
        }
    }

    @Test func `I/O outside of a loop is a clear failure`() async {
        await #expect(processExitsWith: .failure) {
            _ = try await FileDescriptor.open("/dev/null", .readOnly)
        }
    }
}

private func exercise(_ directory: TemporaryDirectory) async throws {
    try await withLoop { _ in
        let file = try await FileDescriptor.open(directory.file("a"), [.readWrite, .create])
        try await file.write([1, 2, 3], at: 0)
        try await file.duplicate().close()
        await expectErrno(.ENOENT) { () async throws(Errno) in
            _ = try await Socket.connect(.unix(path: directory.file("missing")))
        }
        await expectErrno(.EADDRINUSE) { () async throws(Errno) in
            _ = try Socket.listen(.unix(path: directory.file("a")))
        }
        let listener = try Socket.listen(.unix(path: directory.file("s")))
        let client = try await Socket.connect(.unix(path: directory.file("s")))
        let server = try await listener.accept()
        _ = try SignalSource([SIGUSR1])
        for socket in [listener, client, server] { try await socket.close() }
        try await FileDescriptor.unlink(directory.file("s"))
        try await file.close()
    }
}
