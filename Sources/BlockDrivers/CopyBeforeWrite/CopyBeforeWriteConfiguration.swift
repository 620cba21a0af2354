import BlockGraph

/// The options of a copy-before-write filter. The names are those of QMP's `BlockdevOptionsCbw`.
public struct CopyBeforeWriteConfiguration: Sendable {
    /// What fails when old data cannot be copied.
    public enum OnError: String, Hashable, Sendable {
        /// The guest's write; the point in time stays whole.
        case breakGuestWrite = "break-guest-write"
        /// The point in time, as a whole and for good; the guest's write goes on.
        case breakSnapshot = "break-snapshot"
    }

    /// What the point in time covers; nil for everything.
    public var bitmap: DirtyBitmap?
    /// What fails when old data cannot be copied.
    public var onError: OnError
    /// After how many seconds a copy counts as failed; 0 for never.
    public var timeout: UInt32
    /// The least size of a cluster in bytes: a power of two, or 0.
    public var minimumClusterSize: Int64
    /// What a job needs of its filter; nil where a client made it.
    public var job: JobOptions?

    /// What a job needs of its filter.
    public struct JobOptions: Hashable, Sendable {
        /// Data are compressed where the target can do that.
        public var isCompressed = false
        /// What has been copied is discarded in the source.
        public var discardsSource = false

        /// The usual options.
        public init() {}
    }

    /// Whether guest writes need not wait for the target: where old data that do not arrive there break the point in time, at
    /// whatever time, and nothing else.
    var mayDelayCopies: Bool { onError == .breakSnapshot && timeout == 0 && job == nil }

    /// A configuration with its parts.
    public init(
        bitmap: DirtyBitmap? = nil, onError: OnError = .breakGuestWrite, timeout: UInt32 = 0,
        minimumClusterSize: Int64 = 0
    ) {
        self.bitmap = bitmap
        self.onError = onError
        self.timeout = timeout
        self.minimumClusterSize = minimumClusterSize
    }
}
