import IOLoop
import StorageTestSupport
import Testing

@Suite struct LockTests {
    @Test func `the lock goes to waiters in order`() async throws {
        try await onLoop { () async throws in
            let loop = IOLoop.required
            let mutex = AsyncMutex()
            let order = Shared<[Int]>([])
            await mutex.lock()
            #expect(!mutex.tryLock())
            await withTaskGroup(of: Void.self) { group in
                for index in 0..<100 {
                    group.addTask(executorPreference: loop) {
                        await mutex.withLock { order.withLock { $0.append(index) } }
                    }
                    await Task.yield()
                }
                mutex.unlock()
            }
            #expect(order.withLock { $0 } == Array(0..<100))
            #expect(!mutex.isLocked)
            #expect(mutex.tryLock())
            mutex.unlock()
        }
    }

    @Test func `one holder at a time over several loops`() async throws {
        let mutex = AsyncMutex()
        let inside = Shared((now: 0, total: 0))
        try await onSeveralLoops(4) { _ in
            for _ in 0..<500 {
                await mutex.withLock {
                    inside.withLock { state in
                        state.now += 1
                        state.total += 1
                        #expect(state.now == 1)
                    }
                    await Task.yield()
                    inside.withLock { $0.now -= 1 }
                }
            }
        }
        #expect(inside.withLock { $0.total } == 2000)
    }

    @Test func `a semaphore bounds how many are inside`() async throws {
        let semaphore = AsyncSemaphore(3)
        let inside = Shared((now: 0, most: 0))
        try await onSeveralLoops(4) { loop in
            await withTaskGroup(of: Void.self) { group in
                for _ in 0..<200 {
                    group.addTask(executorPreference: loop) {
                        await semaphore.withPermit {
                            inside.withLock { state in
                                state.now += 1
                                state.most = max(state.most, state.now)
                            }
                            await Task.yield()
                            inside.withLock { $0.now -= 1 }
                        }
                    }
                }
            }
        }
        #expect((1...3).contains(inside.withLock { $0.most }))
        for _ in 0..<3 { #expect(semaphore.tryWait()) }
        #expect(!semaphore.tryWait())
    }

    @Test func `waiters see every change`() async throws {
        let queue = WaitQueue()
        let value = Shared(0)
        try await onSeveralLoops(3) { _ in
            for turn in 1...300 {
                if turn % 3 == 0 { try await IOLoop.sleep(for: .microseconds(1)) }
                value.withLock { $0 += 1 }
                queue.notifyAll()
                // A barrier: everybody's turn has come.
                await queue.wait(until: { value.withLock { $0 >= turn * 3 } })
            }
        }
        #expect(queue.waiterCount == 0)
        #expect(value.withLock { $0 } == 900)
    }

    @Test func `one notification wakes the oldest waiter`() async throws {
        try await onLoop { () async throws in
            let queue = WaitQueue()
            let order = Shared<[Int]>([])
            #expect(!queue.notifyOne())
            var tasks: [Task<Void, any Error>] = []
            for index in 0..<4 {
                tasks.append(
                    Task(executorPreference: IOLoop.required) {
                        try await queue.waitCancellable(unless: { false })
                        order.withLock { $0.append(index) }
                    })
                while queue.waiterCount != index + 1 { await Task.yield() }
            }
            tasks[1].cancel()
            await #expect(throws: Errno.ECANCELED) { try await tasks[1].value }
            for remaining in [0, 2, 3] {
                #expect(queue.notifyOne())
                try await tasks[remaining].value
            }
            #expect(order.withLock { $0 } == [0, 2, 3])
        }
    }

    @Test func `conditions run on the caller's actor`() async throws {
        startMainLoop()
        try await Task { @GraphActor in
            let queue = WaitQueue()
            var turns = 0
            let condition = {
                #expect(IOLoop.current === IOLoop.main)
                turns += 1
                return turns % 3 == 0
            }
            for _ in 0..<3 {
                let notifier = Task { @GraphActor in
                    for _ in 0..<4 {
                        while queue.waiterCount == 0 && !Task.isCancelled { await Task.yield() }
                        queue.notifyAll()
                    }
                }
                try await queue.waitCancellable(until: condition)
                await queue.wait(until: condition)
                notifier.cancel()
                await notifier.value
            }
            #expect(turns == 18)
        }.value
    }

    @Test func `cancelled waiters leave while others notify`() async throws {
        let queue = WaitQueue()
        try await onSeveralLoops(3) { loop in
            for round in 0..<300 {
                let task = Task(executorPreference: loop) {
                    do throws(Errno) {
                        try await queue.waitCancellable(unless: { false })
                    } catch {
                        #expect(error == .ECANCELED)
                    }
                }
                if round % 2 == 0 { await Task.yield() }
                queue.notifyOne()
                task.cancel()
                await task.value
            }
        }
        #expect(queue.waiterCount == 0)
    }

    /// Runs `body` on `count` loops at once.
    private func onSeveralLoops(
        _ count: Int, _ body: @escaping @Sendable (IOLoop) async throws -> Void
    ) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for index in 0..<count {
                group.addTask { try await withLoop("lock \(index)") { loop in try await body(loop) } }
            }
            try await group.waitForAll()
        }
    }
}
