/// How an image file or host device is opened. The names are those of QMP's `BlockdevOptionsFile`.
public struct FileConfiguration: Hashable, Sendable {
    /// What the driver takes.
    public enum Kind: String, Hashable, Sendable {
        /// A regular file.
        case file
        /// A block device of the host.
        case hostDevice = "host_device"
    }

    /// Whether the image is locked against other processes.
    public enum Locking: Hashable, Sendable {
        /// Where the system can do it.
        case auto
        /// Always; opening fails where the system cannot.
        case on
        /// Never.
        case off
    }

    /// What the driver takes.
    public var kind: Kind
    /// The path of the file.
    public var filename: String
    /// Whether the image is locked.
    public var locking: Locking

    /// A configuration with its parts.
    public init(kind: Kind = .file, filename: String, locking: Locking = .auto) {
        self.kind = kind
        self.filename = filename
        self.locking = locking
    }
}
