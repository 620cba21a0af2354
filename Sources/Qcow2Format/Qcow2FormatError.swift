/// Why bytes are not an image that can be opened, or why a structure cannot be encoded.
public struct Qcow2FormatError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The errno that goes with a refusal.
    public enum Kind: Sendable, Hashable {
        /// The bytes break the format: `EINVAL`.
        case invalid
        /// The image needs what this implementation does not have: `ENOTSUP`.
        case unsupported
        /// A size is beyond what is supported: `EFBIG`.
        case tooBig
        /// The header cluster has no room left: `ENOSPC`.
        case noSpace
    }

    /// The class of this error.
    public var kind: Kind
    /// The text, in QEMU's words.
    public var message: String

    /// Makes an error.
    public init(_ message: String, kind: Kind = .invalid) {
        self.kind = kind
        self.message = message
    }

    /// The text.
    public var description: String { message }
}
