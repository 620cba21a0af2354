import BlockGraph

/// How an image is cached: the values of `-t` and `-T`.
enum CacheMode: String, Hashable, Sendable {
    /// Through the page cache; durable with a flush.
    case writeback
    /// Through the page cache; every write is durable when it is done.
    case writethrough
    /// Without the page cache.
    case none
    /// Without the page cache; every write is durable when it is done.
    case directsync
    /// Through the page cache; flushes are not passed on.
    case unsafe

    /// The mode of an option's value.
    ///
    /// - Parameter what: the option in the message: "source cache option".
    /// Failure: "Invalid WHAT: x".
    init(_ text: String, what: String = "cache option") throws(ToolFailure) {
        guard let mode = CacheMode(rawValue: text == "off" ? "none" : text) else {
            throw ToolFailure("Invalid \(what): \(text)")
        }
        self = mode
    }

    /// Whether the page cache is left out.
    var isDirect: Bool { self == .none || self == .directsync }

    /// Whether every write is durable when it is done.
    var isWriteThrough: Bool { self == .writethrough || self == .directsync }
}
