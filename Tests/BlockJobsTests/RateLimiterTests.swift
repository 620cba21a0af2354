import IOLoop
import StorageTestSupport
import Testing

@testable import BlockJobs

@Suite struct RateLimiterTests {
    @Test func `without a limit nothing waits`() {
        var limiter = RateLimiter()
        #expect(limiter.account(.max) == nil)
        #expect(limiter.account(.max) == nil)
    }

    @Test func `the limit holds over any sequence of amounts`() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<50 {
            let start = MonotonicTime.now
            var now = start
            var limiter = RateLimiter()
            let speed = Int64(generator.next() % 10_000_000) + 10
            limiter.setSpeed(speed, at: now)
            var moved: Int64 = 0
            for _ in 0..<100 {
                let bytes = Int64(generator.next() % UInt64(speed))
                moved += bytes
                if let resume = limiter.account(bytes, at: now) {
                    #expect(resume > now, "seed \(seed)")
                    now = resume
                }
            }
            let seconds = start.duration(to: now) / .seconds(1)
            // At most two slices ahead, and never half as slow.
            #expect(Double(moved) <= Double(speed) * (seconds + 1.2), "seed \(seed)")
            #expect(Double(moved) >= Double(speed) * (seconds - 0.3) * 0.5, "seed \(seed)")
        }
    }

    @Test func `a new limit forgets what was moved`() {
        let now = MonotonicTime.now
        var limiter = RateLimiter()
        limiter.setSpeed(10, at: now)
        #expect(limiter.account(1_000_000, at: now) != nil)
        limiter.setSpeed(1_000_000_000, at: now)
        #expect(limiter.account(1000, at: now) == nil)
    }
}
