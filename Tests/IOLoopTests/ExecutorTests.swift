import CLinuxShims
import Glibc
import IOLoop
import StorageTestSupport
import Synchronization
import Testing

@Suite struct ExecutorTests {
    @Test func `jobs from many loops all run on the one they are for`() async throws {
        try await withLoop("target") { target in
            let counter = Shared(0)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for index in 0..<8 {
                    let source = try IOLoop(name: "source \(index)")
                    source.start()
                    group.addTask(executorPreference: source) {
                        for _ in 0..<500 {
                            await Task(executorPreference: target) {
                                #expect(IOLoop.current === target)
                                counter.withLock { $0 += 1 }
                            }.value
                            #expect(IOLoop.current === source)
                        }
                        source.stop()
                    }
                }
                try await group.waitForAll()
            }
            #expect(counter.withLock { $0 } == 4000)
        }
    }

    @Test func `a task comes back to its loop after each suspension`() async throws {
        startMainLoop()
        try await withLoop("home") { home in
            let mutex = AsyncMutex()
            for _ in 0..<100 {
                #expect(IOLoop.current === home)
                let onMain = await graphLoop()
                #expect(onMain === IOLoop.main)
                #expect(IOLoop.current === home)
                try await IOLoop.sleep(for: .microseconds(1))
                #expect(IOLoop.current === home)
                await mutex.withLock { #expect(IOLoop.current === home) }
            }
        }
    }

    @Test func `I/O from the graph actor stays on the main loop`() async throws {
        startMainLoop()
        try await Task { @GraphActor in
            let file = try await FileDescriptor.open("/dev/zero", .readOnly)
            for _ in 0..<100 {
                _ = try await file.bytes(16, at: 0)
                GraphActor.assertIsolated()
                #expect(IOLoop.current === IOLoop.main)
            }
            try await file.close()
        }.value
    }

    @Test func `a yielding task does not starve completions`() async throws {
        try await onLoop { () async throws in
            let done = Shared(false)
            let spinner = Task(executorPreference: IOLoop.required) {
                while !done.withLock({ $0 }) { await Task.yield() }
            }
            try await IOLoop.sleep(for: .milliseconds(1))
            done.withLock { $0 = true }
            await spinner.value
        }
    }

    @Test func `a stopped loop goes away`() throws {
        let loop = Mutex<IOLoop?>(try IOLoop(name: "weak"))
        weak let released = loop.withLock { $0 }
        loop.withLock { loop in
            loop?.start()
            loop?.start()
            loop?.stop()
            loop?.join()
            loop?.join()
            loop = nil
        }
        #expect(released == nil)
    }

    @Test func `a loop runs on the thread that calls it`() async throws {
        let loop = try IOLoop(name: "foreign")
        let thread = Thread { loop.run() }
        let isThere = await Task(executorPreference: loop) { IOLoop.current === loop }.value
        #expect(isThere)
        #expect(!loop.isCurrent)
        loop.stop()
        thread.join()
    }

    @Test func `signals of a thread are waited for`() async throws {
        try await withLoop("signals") { _ in
            let source = try SignalSource([SIGUSR1, SIGUSR2])
            let task = Task(executorPreference: IOLoop.required) { () async throws -> [Int32] in
                [try await source.next(), try await source.next()]
            }
            await Task.yield()
            pthread_kill(pthread_self(), SIGUSR2)
            await Task.yield()
            try await IOLoop.sleep(for: .milliseconds(1))
            pthread_kill(pthread_self(), SIGUSR1)
            #expect(try await task.value == [SIGUSR2, SIGUSR1])
            #expect(throws: Errno.EINVAL) { _ = try SignalSource([1000]) }
            let waiting = Task(executorPreference: IOLoop.required) {
                await expectErrno(.ECANCELED) { () async throws(Errno) in _ = try await source.next() }
            }
            await Task.yield()
            waiting.cancel()
            await waiting.value
        }
    }

    @GraphActor private func graphLoop() -> IOLoop? { IOLoop.current }
}

/// A plain thread.
private final class Thread: Sendable {
    private let body: @Sendable () -> Void
    private let handle = Mutex<UInt>(0)

    init(_ body: @escaping @Sendable () -> Void) {
        self.body = body
        var thread = pthread_t()
        pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                Unmanaged<Thread>.fromOpaque(argument).takeRetainedValue().body()
                return nil
            }, Unmanaged.passRetained(self).toOpaque())
        handle.withLock { $0 = UInt(thread) }
    }

    func join() {
        let thread = handle.withLock { $0 }
        pthread_join(pthread_t(thread), nil)
    }
}
