import Synchronization

/// The breakpoints that have been set and neither removed nor resumed from: those at which a request waits or may wait.
final class BreakpointLedger: Sendable {
    private let counts = Mutex<[String: Int]>([:])

    /// Whether there is none.
    var isEmpty: Bool { counts.withLock { $0.isEmpty } }

    /// Notes that a breakpoint was set.
    func didSet(_ tag: String) { counts.withLock { $0[tag, default: 0] += 1 } }

    /// Notes that one request with the tag was resumed; its breakpoint was gone before.
    func didResume(_ tag: String) {
        counts.withLock { counts in
            guard let count = counts[tag] else { return }
            counts[tag] = count > 1 ? count - 1 : nil
        }
    }

    /// Notes that all breakpoints with the tag were removed, and their requests resumed.
    func didRemove(_ tag: String) { counts.withLock { $0[tag] = nil } }
}
