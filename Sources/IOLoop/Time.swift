import CLiburing
import Glibc

/// A point of time of the monotonic clock, which never goes back and does not count suspended time.
public struct MonotonicTime: InstantProtocol, Hashable, Sendable {
    /// Nanoseconds since an arbitrary start.
    public let nanoseconds: Int

    /// The time that is `nanoseconds` after the clock's start.
    public init(nanoseconds: Int) {
        self.nanoseconds = nanoseconds
    }

    /// The time of this call.
    public static var now: MonotonicTime {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return MonotonicTime(nanoseconds: time.tv_sec * 1_000_000_000 + time.tv_nsec)
    }

    /// The time that is `duration` later, or the end of representable time (292 years).
    public func advanced(by duration: Duration) -> MonotonicTime {
        let (sum, overflow) = nanoseconds.addingReportingOverflow(duration.wholeNanoseconds)
        return MonotonicTime(nanoseconds: overflow ? (duration < .zero ? Int.min : Int.max) : sum)
    }

    /// The duration from this time to `other`.
    public func duration(to other: MonotonicTime) -> Duration {
        .nanoseconds(other.nanoseconds) - .nanoseconds(nanoseconds)
    }

    /// Whether `left` is the earlier one.
    public static func < (left: MonotonicTime, right: MonotonicTime) -> Bool {
        left.nanoseconds < right.nanoseconds
    }
}

extension Duration {
    /// The duration in nanoseconds, rounded down; the nearest `Int` when it is out of range.
    public var wholeNanoseconds: Int {
        let (seconds, attoseconds) = components
        let (scaled, overflow) = Int(seconds).multipliedReportingOverflow(by: 1_000_000_000)
        let (sum, carry) = scaled.addingReportingOverflow(Int(attoseconds / 1_000_000_000))
        return overflow || carry ? (seconds < 0 ? Int.min : Int.max) : sum
    }
}

extension IOLoop {
    /// Suspends the task for `duration`, not at all if that is not positive. The caller is on a loop's thread.
    ///
    /// Throws `ECANCELED` when the task is or gets cancelled.
    public static func sleep(for duration: Duration) async throws(Errno) {
        try await sleep(until: MonotonicTime.now.advanced(by: duration))
    }

    /// Suspends the task until `deadline`, not at all if that is past. The caller is on a loop's thread.
    ///
    /// Throws `ECANCELED` when the task is or gets cancelled.
    public static func sleep(until deadline: MonotonicTime) async throws(Errno) {
        if Task.isCancelled { throw .ECANCELED }
        if deadline <= .now { return }
        let result = await required.performCancellable { entry, slot in
            slot.pointee.time.tv_sec = Int64(deadline.nanoseconds / 1_000_000_000)
            slot.pointee.time.tv_nsec = Int64(deadline.nanoseconds % 1_000_000_000)
            withUnsafeMutablePointer(to: &slot.pointee.time) { time in
                io_uring_prep_timeout(entry, time, 0, UInt32(IORING_TIMEOUT_ABS))
            }
        }
        if result != -ETIME { _ = try Errno.check(result) }
    }
}

/// Calls `body` in a child task on the caller's loop, and cancels that task when it did not end within `limit`.
///
/// Returns or throws what `body` does; throws `ETIMEDOUT` when `body` throws after its time was over. Always waits for
/// `body` to end, so `body` must react to cancellation, as all of `IOLoop`'s waiting operations do.
public func withTimeout<Value: Sendable>(
    _ limit: Duration, isolation: isolated (any Actor)? = #isolation,
    _ body: @escaping @Sendable () async throws -> Value
) async throws -> Value {
    let loop = IOLoop.required
    let outcome = await withTaskGroup(of: TimeoutEvent<Value>.self) { group in
        // Captured so that the closure stays on the caller's actor.
        _ = isolation
        group.addTask(executorPreference: loop) {
            do {
                return .ended(.success(try await body()))
            } catch {
                return .ended(.failure(error))
            }
        }
        group.addTask(executorPreference: loop) {
            do throws(Errno) {
                try await IOLoop.sleep(for: limit)
                return .timeout
            } catch {
                return .timerCancelled
            }
        }
        var isOver = false
        var outcome: Result<Value, any Error> = .failure(Errno.ECANCELED)
        for await event in group {
            switch event {
            case .timeout: isOver = true
            case .timerCancelled: break
            case .ended(.failure) where isOver: outcome = .failure(Errno.ETIMEDOUT)
            case .ended(let result): outcome = result
            }
            group.cancelAll()
        }
        return outcome
    }
    return try outcome.get()
}

private enum TimeoutEvent<Value: Sendable>: Sendable {
    case ended(Result<Value, any Error>)
    case timeout
    case timerCancelled
}
