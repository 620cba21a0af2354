import IOLoop

/// Keeps the bytes that a job moves within a limit for each second, in slices of time.
public struct RateLimiter: Sendable {
    /// The length of a slice.
    static let slice = Duration.milliseconds(100)

    /// The bytes for each second; 0 for no limit.
    public private(set) var speed: Int64 = 0
    private var sliceStart = MonotonicTime.now
    private var done: Int64 = 0

    /// No limit.
    public init() {}

    /// Sets the bytes for each second, 0 for no limit; what has been moved is forgotten.
    public mutating func setSpeed(_ speed: Int64, at now: MonotonicTime = .now) {
        self.speed = speed
        sliceStart = now
        done = 0
    }

    /// The bytes of a slice.
    private var quota: Int64 { max(1, speed / 10) }

    /// Notes bytes that have been moved. Returns when more may be: nil for at once.
    public mutating func account(_ bytes: Int64, at now: MonotonicTime = .now) -> MonotonicTime? {
        guard speed > 0 else { return nil }
        let end = sliceStart.advanced(by: Self.slice)
        if now >= end, done < quota {
            sliceStart = now
            done = 0
        }
        let (sum, overflow) = done.addingReportingOverflow(bytes)
        done = overflow ? .max : sum
        guard done >= quota else { return nil }
        // As many slices as the bytes would have taken.
        let slices = Double(done) / Double(quota)
        let resume = sliceStart.advanced(by: .milliseconds(Int64(min(slices * 100, 1e12))))
        guard resume > now else {
            sliceStart = now
            done = 0
            return nil
        }
        sliceStart = resume
        done = 0
        return resume
    }
}
