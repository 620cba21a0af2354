/// The name of a point that a request passes, which `blkdebug` can be told to act on: `pwritev`, `l2_load`, ...
///
/// Source: the values of `BlkdebugEvent` in the QMP schema.
public struct DebugEvent: RawRepresentable, Hashable, Sendable {
    /// The wire name.
    public let rawValue: String

    /// An event from its wire name.
    public init(rawValue: String) { self.rawValue = rawValue }

    /// A read that a format driver passes on to its file.
    public static let readAIO = DebugEvent(rawValue: "read_aio")
    /// A write that a format driver passes on to its file.
    public static let writeAIO = DebugEvent(rawValue: "write_aio")
    /// A write begins in a node.
    public static let pwritev = DebugEvent(rawValue: "pwritev")
    /// Zeroes are about to be written.
    public static let pwritevZero = DebugEvent(rawValue: "pwritev_zero")
    /// A write, or a write of zeroes, has been done.
    public static let pwritevDone = DebugEvent(rawValue: "pwritev_done")
    /// The block before an unaligned write is about to be read.
    public static let pwritevRMWHead = DebugEvent(rawValue: "pwritev_rmw_head")
    /// The block before an unaligned write has been read.
    public static let pwritevRMWAfterHead = DebugEvent(rawValue: "pwritev_rmw_after_head")
    /// The block behind an unaligned write is about to be read.
    public static let pwritevRMWTail = DebugEvent(rawValue: "pwritev_rmw_tail")
    /// The block behind an unaligned write has been read.
    public static let pwritevRMWAfterTail = DebugEvent(rawValue: "pwritev_rmw_after_tail")
    /// A flush goes to the operating system.
    public static let flushToOS = DebugEvent(rawValue: "flush_to_os")
    /// A flush goes to the disk.
    public static let flushToDisk = DebugEvent(rawValue: "flush_to_disk")
}

/// A driver that acts on debug events.
public protocol DebugEventSink: AnyObject, Sendable {
    /// Called at each event on the node; may suspend the request that caused it.
    func debugEvent(_ event: DebugEvent) async
    /// Suspends the next request that causes the event, under a tag; the tag must be free.
    func setBreakpoint(_ event: DebugEvent, tag: String) -> Bool
    /// Resumes the requests suspended under the tag; false where there is none.
    func resume(tag: String) -> Bool
    /// Removes the breakpoints with the tag and resumes their requests; false where there is none.
    func removeBreakpoint(tag: String) -> Bool
    /// Removes all breakpoints, and resumes all requests and whoever waits for one.
    func removeAllBreakpoints()
    /// Whether a request is suspended under the tag.
    func isSuspended(tag: String) -> Bool
    /// Returns when a request is suspended under the tag.
    func waitUntilSuspended(tag: String) async
}
