import IOLoop
import StorageTestSupport
import Testing

@Suite struct TimeTests {
    @Test func `timers end in the order of their deadlines`() async throws {
        try await withLoop("timers") { loop in
            // On a busy machine the first deadline can pass before all timers are set: then again, with more time.
            var step = Duration.milliseconds(10)
            while try await !timersEndInOrder(on: loop, step: step) { step *= 2 }
        }
    }

    /// Checks the order of timers; false when it was too late for the first of them.
    private func timersEndInOrder(on loop: IOLoop, step: Duration) async throws -> Bool {
        let order = Shared<[Int]>([])
        let late = Shared(false)
        let start = MonotonicTime.now
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in [5, 2, 4, 1, 3, 0, -1] {
                group.addTask(executorPreference: loop) {
                    let deadline = start.advanced(by: step * number)
                    if MonotonicTime.now >= start.advanced(by: step) { late.withLock { $0 = true } }
                    try await IOLoop.sleep(until: deadline)
                    #expect(MonotonicTime.now >= deadline)
                    order.withLock { $0.append(number) }
                }
            }
            try await group.waitForAll()
        }
        if late.withLock({ $0 }) { return false }
        #expect(order.withLock { $0.filter { $0 > 0 } } == [1, 2, 3, 4, 5])
        return true
    }

    @Test func `a body that ends in time keeps its result`() async throws {
        try await onLoop { () async throws in
            #expect(try await withTimeout(.seconds(3600)) { 5 } == 5)
            do {
                try await withTimeout(.seconds(3600)) { throw Errno.EIO }
                Issue.record("nothing was thrown")
            } catch {
                #expect(error as? Errno == .EIO)
            }
        }
    }

    @Test func `a body that takes too long is cancelled`() async throws {
        try await onLoop { () async throws in
            let (left, right) = try Socket.pair()
            do {
                _ = try await withTimeout(.milliseconds(1)) { try await left.bytes(1) }
                Issue.record("nothing was thrown")
            } catch {
                #expect(error as? Errno == .ETIMEDOUT)
            }
            // What a body returns in spite of its cancellation is not lost.
            let queue = WaitQueue()
            let late = try await withTimeout(.milliseconds(1)) {
                _ = try? await queue.waitCancellable(until: { false })
                return 7
            }
            #expect(late == 7)
            try await left.close()
            try await right.close()
        }
    }

    @Test func `the graph actor can wait`() async throws {
        startMainLoop()
        try await Task { @GraphActor in
            try await IOLoop.sleep(for: .milliseconds(1))
            #expect(IOLoop.current === IOLoop.main)
            let value = try await withTimeout(.seconds(3600)) { IOLoop.current === IOLoop.main }
            #expect(value)
        }.value
    }

    @Test func `arithmetic saturates`() {
        let time = MonotonicTime(nanoseconds: 10)
        #expect(time.advanced(by: .nanoseconds(5)).nanoseconds == 15)
        #expect(time.advanced(by: .seconds(Int64.max)).nanoseconds == Int.max)
        #expect(MonotonicTime(nanoseconds: -1).advanced(by: .seconds(Int64.min)).nanoseconds == Int.min)
        #expect(time.duration(to: MonotonicTime(nanoseconds: 4)) == .nanoseconds(-6))
        #expect(Duration.milliseconds(-1).wholeNanoseconds == -1_000_000)
    }
}
