import BlockGraph
import Synchronization

/// The run of data that was found last, so that reading a file from one end to the other does not look for the run's end again
/// with each request: some file systems walk through all of it for that.
///
/// It may be out of date in one direction only: what it calls data may have become a hole, which does no harm to who
/// reads it. The driver forgets it when it makes holes itself.
final class DataExtentCache: Sendable {
    private let extent = Mutex<ByteRange>(0..<0)

    /// Where the run of data ends in which the offset lies; nil where that is not known.
    func end(at offset: Int64) -> Int64? {
        extent.withLock { $0.contains(offset) ? $0.upperBound : nil }
    }

    /// Remembers a run of data.
    func remember(_ range: ByteRange) { extent.withLock { $0 = range } }

    /// Forgets what is known, as a part of the file may have become a hole.
    func forget() { extent.withLock { $0 = 0..<0 } }
}
