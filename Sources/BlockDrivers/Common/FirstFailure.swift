import BlockGraph
import Synchronization

/// Keeps the first of several errors.
final class FirstFailure: Sendable {
    private let first = Mutex<CopyUpError?>(nil)

    /// The first error; nil where there was none.
    var error: CopyUpError? { first.withLock { $0 } }

    /// Notes an error.
    func note(_ error: CopyUpError) { first.withLock { $0 = $0 ?? error } }
}
