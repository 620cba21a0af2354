import IOLoop

/// Why an operation of the control plane failed, in the words that a QMP client reads.
public struct BlockError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The classes that QMP tells apart.
    public enum Kind: Hashable, Sendable {
        /// Anything without a class of its own.
        case generic
        /// There is no such device or node.
        case deviceNotFound
    }

    /// The class of the error.
    public let kind: Kind
    /// The text for people; it is part of the interface, as scripts compare it.
    public let description: String
    /// The system's error behind it, where there is one.
    public let errno: Errno?
    /// What may help a person at a terminal.
    public let hint: String?

    /// An error with its text.
    public init(_ description: String, kind: Kind = .generic, errno: Errno? = nil, hint: String? = nil) {
        self.hint = hint
        self.description = description
        self.kind = kind
        self.errno = errno
    }

    /// An error whose text ends in the system's words for `errno`, as in "Could not open 'x': No such file or directory".
    public init(_ prefix: String, causedBy errno: Errno) {
        self.init("\(prefix): \(errno)", errno: errno)
    }
}
