import IOLoop

/// The time that a throttle group goes by.
public protocol ThrottleClock: Sendable {
    /// The time of this call.
    var now: MonotonicTime { get }
    /// Suspends the task until `deadline`; may return earlier, and does so when the task is cancelled.
    func sleep(until deadline: MonotonicTime) async
}

/// The monotonic clock of the system.
public struct SystemThrottleClock: ThrottleClock {
    /// The clock; there is no state.
    public init() {}

    public var now: MonotonicTime { .now }

    public func sleep(until deadline: MonotonicTime) async {
        try? await IOLoop.sleep(until: deadline)  // Cancelled: the caller looks for the reason.
    }
}
