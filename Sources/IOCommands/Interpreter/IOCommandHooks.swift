import BlockGraph
import IOLoop

/// What `info` tells of a node, apart from the names of its format.
public struct IONodeDetails: Sendable {
    /// The unit of allocation in bytes; 0 for none.
    public var clusterSize: Int64
    /// Where the machine state begins, in bytes; 0 for none.
    public var vmStateOffset: Int64
    /// Lines about the format, without newlines.
    public var formatSpecificLines: [String]

    /// Details with their parts; by default there is nothing to tell.
    public init(clusterSize: Int64 = 0, vmStateOffset: Int64 = 0, formatSpecificLines: [String] = []) {
        self.clusterSize = clusterSize
        self.vmStateOffset = vmStateOffset
        self.formatSpecificLines = formatSpecificLines
    }
}

/// What `reopen` asks for; what is not named stays as it is.
public struct IOReopenRequest: Equatable, Sendable {
    /// An option of the block driver; the name may be dotted.
    public struct Option: Equatable, Sendable {
        /// Its name.
        public let name: String
        /// Its value.
        public let value: String

        /// An option with its value.
        public init(name: String, value: String) {
            self.name = name
            self.value = value
        }
    }

    /// How the host's page cache is used and when data becomes durable.
    public enum CacheMode: String, Hashable, Sendable {
        /// Without the page cache.
        case none
        /// The same, another name.
        case off
        /// Without the page cache, each write made durable.
        case directsync
        /// With the page cache.
        case writeback
        /// With the page cache, and flushes left out.
        case unsafe
        /// With the page cache, each write made durable.
        case writethrough
    }

    /// Whether the node is to refuse writes.
    public var isReadOnly: Bool?
    /// The cache mode.
    public var cacheMode: CacheMode?
    /// Options of the driver, in the order given.
    public var options: [Option] = []
}

/// What commands need from their surroundings beyond the block graph. A hook that is nil makes its command fail with
/// "Operation not supported".
public struct IOCommandHooks: Sendable {
    /// Reopens a node with other options.
    public var reopen: (@GraphActor @Sendable (BlockNode, IOReopenRequest) async throws(BlockError) -> Void)?
    /// Tells more of a node; nil where the driver has nothing to tell.
    public var details: (@GraphActor @Sendable (BlockNode) async -> IONodeDetails?)?
    /// Opens an image for the commands that follow, or says why not.
    public var open: (@GraphActor @Sendable (IOOpenRequest) async -> IOCommandStatus)?
    /// Closes the image.
    public var close: (@GraphActor @Sendable () async -> IOCommandStatus)?
    /// Sends the process a signal; `abort` sends SIGABRT.
    public var raiseSignal: (@Sendable (Int32) -> Void)?

    /// No hooks.
    public init() {}
}
