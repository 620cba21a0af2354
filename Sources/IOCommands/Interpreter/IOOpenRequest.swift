/// What `open`, or the command line of a program, asks for.
public struct IOOpenRequest: Equatable, Sendable {
    /// How the operating system is asked to do I/O.
    public enum AsynchronousIO: String, Sendable {
        /// By threads.
        case threads
        /// With Linux's older interface.
        case native
        /// With io_uring.
        case ioUring = "io_uring"
    }

    /// The image's name; nil where the options say it all.
    public var path: String?
    /// The format; nil where it is found out, or said by the options.
    public var format: String?
    /// Options, in the order given; names may be dotted.
    public var options: [IOReopenRequest.Option] = []
    /// The image is opened for reading only.
    public var isReadOnly = false
    /// Writes go to a temporary overlay.
    public var writesToOverlay = false
    /// What is read is copied up from the backing file.
    public var copiesOnRead = false
    /// Other users of the image are tolerated.
    public var sharesImage = false
    /// The cache mode; nil for the default.
    public var cacheMode: IOReopenRequest.CacheMode?
    /// Whether discards reach the image; nil for the default.
    public var discards: Bool?
    /// How the operating system is asked to do I/O; nil for the default.
    public var asynchronousIO: AsynchronousIO?

    /// A request for nothing in particular.
    public init() {}

    /// The start of messages about the image: "can't open device NAME: ".
    public var failure: String { path.map { "can't open device \($0): " } ?? "can't open: " }
}

/// A value of an option that there is not: the message about it.
struct IOOptionError: Error {
    let message: String
}

extension IOOpenRequest {
    /// Takes the argument of "-t". Error: there is no such mode.
    mutating func takeCacheMode(_ text: String) throws(IOOptionError) {
        guard let mode = IOReopenRequest.CacheMode(rawValue: text) else {
            throw IOOptionError(message: "Invalid cache option: \(text)")
        }
        cacheMode = mode
    }

    /// Takes the argument of "-d". Error: there is no such mode.
    mutating func takeDiscard(_ text: String) throws(IOOptionError) {
        switch text {
        case "unmap", "on": discards = true
        case "ignore", "off": discards = false
        default: throw IOOptionError(message: "Invalid discard option: \(text)")
        }
    }

    /// Takes the argument of "-i". Error: there is no such mode.
    mutating func takeAsynchronousIO(_ text: String) throws(IOOptionError) {
        guard let mode = AsynchronousIO(rawValue: text) else {
            throw IOOptionError(message: "Invalid aio option: \(text)")
        }
        asynchronousIO = mode
    }
}
