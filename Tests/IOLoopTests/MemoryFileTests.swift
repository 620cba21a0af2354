import CLinuxShims
import Glibc
import StorageTestSupport
import Testing

@testable import IOLoop

@Suite struct MemoryFileTests {
    /// Calls the body with an empty file in memory.
    private func withFile(_ body: @escaping @Sendable (FileDescriptor) async throws(Errno) -> Void) async throws {
        try await onLoop { () async throws(Errno) in
            let path = "/dev/shm/cairn-test-\(getpid())-\(MonotonicTime.now.nanoseconds)"
            let file = try await FileDescriptor.open(path, [.readWrite, .create, .exclusive])
            try await FileDescriptor.unlink(path)
            do throws(Errno) { try await body(file) } catch {
                try await file.close()
                throw error
            }
            try await file.close()
        }
    }

    @Test func `a file system of memory is told from others`() async throws {
        try await withFile { file async throws(Errno) in
            #expect(file.isInMemory)
            let other = try await FileDescriptor.open("/proc/self/status", .readOnly)
            #expect(!other.isInMemory)
            try await other.close()
            #expect(!FileDescriptor(rawValue: -1).isInMemory)
        }
    }

    @Test func `files in memory are read and written as others are`() async throws {
        try await withFile { file async throws(Errno) in
            try await BufferPool.shared.withBuffer(count: 5000) { (buffer) async throws(Errno) in
                buffer.fill(7)
                #expect(try await file.writeInMemory(from: buffer, at: 100) == 5000)
                try file.fdatasyncInMemory()
                buffer.fill(1)
                #expect(try await file.readFully(into: buffer, at: 0) == 5000)
                #expect(buffer[0..<100].isZero && buffer[100...].bytes.allSatisfy { $0 == 7 })
                #expect(try await file.readInMemory(into: buffer, at: 5000) == 100)
                #expect(try await file.readInMemory(into: buffer, at: 5100) == 0)
                let none = IOBuffer(base: buffer.base, count: 0)
                #expect(try await file.writeInMemory(from: none, at: 0) == 0)
                await expectErrno(.EBADF) { () async throws(Errno) in
                    _ = try await FileDescriptor(rawValue: -1).readInMemory(into: buffer, at: 0)
                }
            }
        }
    }

    @Test(arguments: [1, IOLoop.shortCopy, IOLoop.shortCopy + 1, IOLoop.longCopy, IOLoop.longCopy + 1])
    func `requests that never wait let other tasks have their turns`(size: Int) async throws {
        try await withFile { file async throws(Errno) in
            let other = Shared(false)
            let loop = IOLoop.required
            Task(executorPreference: loop) {
                // Each of these waits for the kernel.
                for _ in 0..<3 { try? await file.fdatasync() }
                other.withLock { $0 = true }
            }
            try await BufferPool.shared.withBuffer(count: size) { (buffer) async throws(Errno) in
                buffer.fill(0)
                while !other.withLock({ $0 }) {
                    #expect(try await file.writeInMemory(from: buffer, at: 0) == size)
                    #expect(IOLoop.current === loop)
                }
            }
        }
    }

    @Test func `a short request does not enter the kernel for the ring`() async throws {
        let loop = try IOLoop(name: "alone")
        loop.start()
        let path = "/dev/shm/cairn-test-\(getpid())-alone"
        let entries = try await Task(executorPreference: loop) { () async throws -> Int in
            let file = try await FileDescriptor.open(path, [.readWrite, .create, .exclusive])
            try await FileDescriptor.unlink(path)
            let before = loop.kernelEntries
            try await BufferPool.shared.withBuffer(count: 4096) { (buffer) async throws(Errno) in
                buffer.fill(0)
                for _ in 0..<1000 { _ = try await file.writeInMemory(from: buffer, at: 0) }
            }
            let entries = loop.kernelEntries - before
            try await file.close()
            return entries
        }.value
        // Turns end now and then, and there is nothing to be told to the kernel at their ends.
        #expect(entries <= 1)
        loop.stop()
        loop.join()
    }

    /// Calls the body on a loop that does nothing else, with an empty file in memory.
    private func aloneOnLoop(
        _ name: String, _ body: @escaping @Sendable (IOLoop, FileDescriptor) async throws(Errno) -> Void
    ) async throws {
        let loop = try IOLoop(name: name)
        loop.start()
        let path = "/dev/shm/cairn-test-\(getpid())-\(name)"
        try await Task(executorPreference: loop) { () async throws in
            let file = try await FileDescriptor.open(path, [.readWrite, .create, .exclusive])
            try await FileDescriptor.unlink(path)
            try await body(loop, file)
            try await file.close()
        }.value
        loop.stop()
        loop.join()
    }

    @Test func `prompt requests of 64 KiB are done at once, longer ones only for a while`() async throws {
        try await aloneOnLoop("prompt") { (loop, file) async throws(Errno) in
            var buffer = BufferPool.shared.take(count: IOLoop.promptCopy)
            defer { BufferPool.shared.give(buffer) }
            buffer.fill(1)
            buffer.urgency = .prompt
            #expect(buffer[10...].urgency == .prompt)
            let before = loop.kernelEntries
            for _ in 0..<20 {
                #expect(try await file.writeInMemory(from: buffer, at: 0) == buffer.count)
                #expect(try await file.readInMemory(into: buffer, at: 0) == buffer.count)
            }
            #expect(loop.kernelEntries - before <= 1)
            buffer.urgency = .usual
            for _ in 0..<20 { #expect(try await file.readInMemory(into: buffer, at: 0) == buffer.count) }
            #expect(loop.kernelEntries - before > 1)
        }
    }

    @Test func `a loop that waited does several long copies`() async throws {
        try await aloneOnLoop("waited") { (loop, file) async throws(Errno) in
            let buffer = BufferPool.shared.take(count: IOLoop.longCopy / 4)
            defer { BufferPool.shared.give(buffer) }
            buffer.fill(1)
            try await IOLoop.sleep(for: .milliseconds(1))
            let before = loop.kernelEntries
            for _ in 0..<4 { #expect(try await file.writeInMemory(from: buffer, at: 0) == buffer.count) }
            #expect(loop.kernelEntries - before == 0)
            #expect(try await file.writeInMemory(from: buffer, at: 0) == buffer.count)
            #expect(loop.kernelEntries - before > 0)
        }
    }

    @Test func `what nobody waits for has its turn after the others`() async throws {
        try await aloneOnLoop("background") { (loop, file) async throws(Errno) in
            let order = Shared<[String]>([])
            let task = Task(executorPreference: loop) {
                var buffer = BufferPool.shared.take(count: 100)
                defer { BufferPool.shared.give(buffer) }
                buffer.fill(1)
                buffer.urgency = .background
                _ = try? await file.writeInMemory(from: buffer, at: 0)
                order.withLock { $0.append("background") }
            }
            for _ in 0..<3 { await Task.yield() }
            order.withLock { $0.append("others") }
            _ = await task.result
            #expect(order.withLock { $0 } == ["others", "background"])
        }
    }

    @Test func `an operation off the loops is done on the main loop's ring`() async throws {
        let directory = TemporaryDirectory()
        startMainLoop()
        let path = directory.file("f")
        let status = try await Task.detached { () async throws -> FileStatus in
            #expect(IOLoop.current == nil)
            let file = try await FileDescriptor.open(path, [.readWrite, .create])
            let buffer = BufferPool.shared.take(count: 1000)
            defer { BufferPool.shared.give(buffer) }
            buffer.fill(1)
            try await file.writeFully(from: buffer, at: 24)
            try await file.fdatasync()
            #expect(try await file.readFully(into: buffer, at: 512) == 512)
            let status = try await file.statx()
            try await file.close()
            return status
        }.value
        #expect(status.size == 1024)
    }
}
