import StorageTestSupport
import Testing

@testable import IOLoop

@Suite struct PollingTests {
    @Test func `a loop does not poll unless it is told to`() {
        let polling = Polling()
        #expect(!polling.isEnabled && polling.duration == nil)
        polling.set(limit: 32768, growth: 0, shrinkage: 0)
        #expect(polling.isEnabled && polling.duration == nil)
    }

    @Test func `the time grows up to the limit while waits are short`() {
        let polling = Polling()
        polling.set(limit: 20000, growth: 0, shrinkage: 0)
        var durations: [Int] = []
        for _ in 0..<5 {
            polling.note(wait: 19000)
            durations.append(polling.duration ?? 0)
        }
        #expect(durations == [4000, 8000, 16000, 20000, 20000])
        // What was found in time changes nothing.
        polling.note(wait: 1)
        #expect(polling.duration == 20000)
    }

    @Test func `a long wait takes the time back`() {
        let polling = Polling()
        polling.set(limit: 10000, growth: 10, shrinkage: 0)
        polling.note(wait: 5000)
        polling.note(wait: 5000)
        #expect(polling.duration == 10000)
        polling.note(wait: 10001)
        #expect(polling.duration == nil)
        polling.set(limit: 10000, growth: 10, shrinkage: 4)
        polling.note(wait: 5000)
        polling.note(wait: 50000)
        #expect(polling.duration == 1000)
        polling.set(limit: 500, growth: 10, shrinkage: 4)
        #expect(polling.duration == 500)
        polling.set(limit: 0, growth: 0, shrinkage: 0)
        #expect(!polling.isEnabled)
        polling.set(limit: .max, growth: .max, shrinkage: 1)
        polling.note(wait: .max)
        #expect(polling.duration == .max)
    }

    @Test func `a loop that polls serves files, timers and other threads`() async throws {
        let loop = try IOLoop(name: "polling")
        loop.setPolling(limit: 100_000)
        loop.start()
        let directory = TemporaryDirectory()
        let path = directory.file("f")
        try await Task(executorPreference: loop) { () async throws in
            let file = try await FileDescriptor.open(path, [.readWrite, .create])
            for round in 0..<200 {
                try await file.write([UInt8(round)], at: round)
                try await IOLoop.sleep(for: .microseconds(round % 10 * 20))
                await Task.detached {}.value
            }
            #expect(try await file.bytes(1000, at: 0) == (0..<200).map { UInt8($0) })
            try await file.close()
        }.value
        loop.stop()
        loop.join()
    }
}
