import IOLoop
import StorageTestSupport
import Synchronization
import Testing

@Suite struct CancellationTests {
    /// Runs `body` as a task, cancels it when it has had a chance to suspend, and expects `ECANCELED`.
    private func expectCancellation(
        _ body: @escaping @Sendable () async throws(Errno) -> Void, at location: SourceLocation = #_sourceLocation
    ) async {
        for yields in [0, 1, 3] {
            let task = Task(executorPreference: IOLoop.required) {
                await expectErrno(.ECANCELED, body, at: location)
            }
            for _ in 0..<yields { await Task.yield() }
            task.cancel()
            await task.value
        }
    }

    @Test func `waiting operations end when their task is cancelled`() async throws {
        let directory = TemporaryDirectory()
        try await onLoop { () async throws in
            let (left, right) = try Socket.pair()
            let listener = try Socket.listen(.unix(path: directory.file("s")))
            let queue = WaitQueue()
            await expectCancellation { () async throws(Errno) in _ = try await left.bytes(1) }
            await expectCancellation { () async throws(Errno) in _ = try await listener.accept() }
            await expectCancellation { () async throws(Errno) in try await IOLoop.sleep(for: .seconds(3600)) }
            await expectCancellation { () async throws(Errno) in _ = try await right.descriptor.poll(.readable) }
            await expectCancellation { () async throws(Errno) in
                try await left.send([UInt8](repeating: 0, count: 8 << 20))
            }
            await expectCancellation { () async throws(Errno) in try await queue.waitCancellable(until: { false }) }
            #expect(queue.waiterCount == 0)
            for socket in [left, right, listener] { try await socket.close() }
        }
    }

    @Test func `a cancellation from another loop arrives`() async throws {
        try await onLoop { () async throws in
            let (left, right) = try Socket.pair()
            for _ in 0..<200 {
                let task = Task(executorPreference: IOLoop.required) {
                    await expectErrno(.ECANCELED) { () async throws(Errno) in _ = try await left.bytes(1) }
                }
                try await withLoopOnce { task.cancel() }
                await task.value
            }
            try await left.close()
            try await right.close()
        }
    }

    /// Cancels tasks from one thread while their bytes arrive from another: each receives or is cancelled, once, and
    /// no later operation is hit.
    @Test func `cancellations race with completions`() async throws {
        try await onLoop { () async throws in
            let (left, right) = try Socket.pair()
            var received = 0
            var sent = 0
            for round in 0..<2000 {
                let task = Task(executorPreference: IOLoop.required) { () async -> Int in
                    do throws(Errno) {
                        return try await left.bytes(1).count
                    } catch {
                        #expect(error == .ECANCELED)
                        return 0
                    }
                }
                if round % 3 != 0 { await Task.yield() }
                try await withLoopOnce { task.cancel() }
                if round % 2 == 0 {
                    try await right.send([1])
                    sent += 1
                }
                received += await task.value
                // Unread bytes must not fill the socket, which would make the sends wait.
                if sent - received > 50 { received += try await left.bytes(sent - received).count }
            }
            try right.shutdown(.sending)
            let rest = try await left.bytes(sent + 1).count
            #expect(received + rest == sent)
            try await left.close()
            try await right.close()
        }
    }

    @Test func `a cancelled task starts nothing`() async throws {
        try await onLoop { () async throws in
            let (left, right) = try Socket.pair()
            try await right.send([1])
            let task = Task(executorPreference: IOLoop.required) {
                withUnsafeCurrentTask { $0?.cancel() }
                await expectErrno(.ECANCELED) { () async throws(Errno) in _ = try await left.bytes(1) }
                await expectErrno(.ECANCELED) { () async throws(Errno) in try await IOLoop.sleep(for: .zero) }
                // Files are not cancelled.
                _ = try await FileDescriptor.open("/dev/null", .readOnly).close()
            }
            try await task.value
            #expect(try await left.bytes(1) == [1])
            try await left.close()
            try await right.close()
        }
    }
}

private let helper = Mutex<IOLoop?>(nil)

/// Runs `body` on a loop that is not the caller's.
private func withLoopOnce(_ body: @escaping @Sendable () -> Void) async throws {
    let loop = try helper.withLock { loop throws in
        if let loop { return loop }
        let fresh = try IOLoop(name: "helper")
        fresh.start()
        loop = fresh
        return fresh
    }
    await Task(executorPreference: loop) { body() }.value
}
