import Synchronization

/// How long a loop looks for completions before it sleeps: waking a sleeping thread takes longer than many requests do.
///
/// The time adapts: it grows while waits are a little longer than it, and shrinks when a wait is longer than the limit, so
/// that an idle loop sleeps at once.
final class Polling: Sendable {
    /// Settings of any thread.
    private let limit = Atomic<Int>(0)
    private let growth = Atomic<Int>(0)
    private let shrinkage = Atomic<Int>(0)
    /// Nanoseconds to look for completions now; of the loop's thread.
    private let current = Atomic<Int>(0)

    /// The time to begin with.
    private static let start = 4000

    /// - Parameters:
    ///   - limit: the most nanoseconds; 0 to sleep at once.
    ///   - growth: the factor by which the time grows; 0 for 2.
    ///   - shrinkage: the divisor by which it shrinks; 0 to go back to nothing.
    func set(limit: Int, growth: Int, shrinkage: Int) {
        self.limit.store(limit, ordering: .relaxed)
        self.growth.store(growth, ordering: .relaxed)
        self.shrinkage.store(shrinkage, ordering: .relaxed)
    }

    /// Whether to look for completions at all.
    var isEnabled: Bool { limit.load(ordering: .relaxed) > 0 }

    /// Nanoseconds to look for completions; nil to sleep at once.
    var duration: Int? {
        let duration = min(current.load(ordering: .relaxed), limit.load(ordering: .relaxed))
        return duration > 0 ? duration : nil
    }

    /// Learns from a wait of so many nanoseconds, from its begin to the completion.
    func note(wait: Int) {
        let former = current.load(ordering: .relaxed)
        guard wait > former else { return }
        let limit = limit.load(ordering: .relaxed)
        if wait <= limit {
            let factor = growth.load(ordering: .relaxed)
            let grown = former.multipliedReportingOverflow(by: factor > 0 ? factor : 2)
            current.store(min(limit, max(Self.start, grown.overflow ? limit : grown.partialValue)), ordering: .relaxed)
        } else {
            let divisor = shrinkage.load(ordering: .relaxed)
            current.store(divisor > 0 ? former / divisor : 0, ordering: .relaxed)
        }
    }
}
