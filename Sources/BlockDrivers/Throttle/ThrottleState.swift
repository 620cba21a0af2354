import IOLoop

/// Reads and writes wait in lines of their own.
enum ThrottleDirection: Int, CaseIterable, Sendable {
    case read
    case write
}

/// The buckets of a group: who must wait, and for how long. A pure value; the time comes from outside.
struct ThrottleState: Sendable {
    private(set) var configuration: ThrottleConfiguration
    private var buckets: [LeakyBucket]
    private var lastLeak: MonotonicTime

    /// Empty buckets.
    init(_ configuration: ThrottleConfiguration, now: MonotonicTime) {
        self.configuration = configuration
        buckets = ThrottleRate.allCases.map { LeakyBucket(configuration[$0]) }
        lastLeak = now
    }

    private static func rates(_ direction: ThrottleDirection) -> [ThrottleRate] {
        switch direction {
        case .read: [.bytesTotal, .bytesRead, .requestsTotal, .requestsRead]
        case .write: [.bytesTotal, .bytesWritten, .requestsTotal, .requestsWritten]
        }
    }

    /// How many nanoseconds a request must wait from `now` on; 0 where it may pass.
    mutating func wait(_ direction: ThrottleDirection, now: MonotonicTime) -> Int {
        if now > lastLeak {
            let seconds = Double(now.nanoseconds - lastLeak.nanoseconds) / 1e9
            for index in buckets.indices { buckets[index].leak(seconds: seconds) }
            lastLeak = now
        }
        let seconds = Self.rates(direction).map { buckets[$0.rawValue].wait }.max() ?? 0
        // Half a nanosecond is the noise of the sums above, not a reason to wait.
        guard seconds > 0.5e-9 else { return 0 }
        return seconds < 1e9 ? Int((seconds * 1e9).rounded(.up)) : 1_000_000_000 * 1_000_000_000
    }

    /// Counts a request that passes.
    mutating func account(_ direction: ThrottleDirection, bytes: Int64) {
        let bytes = Double(bytes)
        let size = Double(configuration.requestSize)
        let requests = size > 0 && bytes > size ? bytes / size : 1
        for rate in Self.rates(direction) { buckets[rate.rawValue].pour(rate.countsBytes ? bytes : requests) }
    }
}
