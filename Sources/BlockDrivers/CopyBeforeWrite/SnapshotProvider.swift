import BlockGraph
import IOLoop

/// A driver that keeps a point in time of its data next to the data themselves. `snapshot-access` shows it.
public protocol SnapshotProvider: BlockDriver {
    /// The length of the point in time, in bytes. Constant.
    var snapshotLength: Int64 { get }
    /// Reads from the point in time. EACCES: a part of the range is not, or no longer, accessible.
    func readSnapshot(_ range: ByteRange, into buffer: IOBuffer) async throws(Errno)
    /// The status of a run of the point in time. EACCES: the first byte is not accessible.
    func snapshotStatus(_ range: ByteRange, precision: BlockStatusPrecision) async throws(Errno) -> BlockStatus
    /// Gives a part of the point in time up: whole clusters in the range become inaccessible, and are not copied any more.
    func discardSnapshot(_ range: ByteRange) async throws(Errno)
}
