/// The options that the nodes of all drivers have in common.
public struct NodeOptions: Hashable, Sendable {
    /// What becomes of discard requests.
    public enum Discard: String, Hashable, Sendable {
        /// They do nothing.
        case ignore
        /// They go to the driver.
        case unmap
    }

    /// What becomes of writes that hold only zeroes.
    public enum DetectZeroes: String, Hashable, Sendable {
        /// They are written.
        case off
        /// They become writes of zeroes.
        case on
        /// They become writes of zeroes that may deallocate.
        case unmap
    }

    /// Writes fail, and no parent may ask for them.
    public var isReadOnly = false
    /// A node that cannot be opened for writing is opened read-only instead.
    public var isAutoReadOnly = false
    /// The page cache of the host is left out.
    public var cacheDirect = false
    /// Flushes are not passed on.
    public var cacheNoFlush = false
    /// Other users of the image are tolerated; only for reading.
    public var forceShare = false
    /// What becomes of discard requests.
    public var discard = Discard.ignore
    /// What becomes of writes that hold only zeroes.
    public var detectZeroes = DetectZeroes.off

    /// The defaults of QMP's `blockdev-add`.
    public init() {}
}
