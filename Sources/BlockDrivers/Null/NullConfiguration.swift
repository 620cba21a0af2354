import BlockGraph
import IOLoop

/// The options of `null-co` and `null-aio`. The names are those of QMP's `BlockdevOptionsNull`.
public struct NullConfiguration: Hashable, Sendable {
    /// The name by which the driver is called. Both do the same here.
    public enum Kind: String, Hashable, Sendable {
        /// In QEMU, the one that works in coroutines.
        case coroutines = "null-co"
        /// In QEMU, the one that works with callbacks.
        case callbacks = "null-aio"
    }

    /// The name by which the driver is called.
    public var kind: Kind
    /// The length in bytes; 1 GiB if nil. It is rounded up to sectors of 512 bytes.
    public var size: Int64?
    /// How long each request takes at least, in nanoseconds.
    public var latencyNanoseconds: Int64
    /// Whether the node promises to read as zeroes; nil as false.
    public var readZeroes: Bool?

    /// A configuration with its parts.
    public init(kind: Kind = .coroutines, size: Int64? = nil, latencyNanoseconds: Int64 = 0, readZeroes: Bool? = nil) {
        self.kind = kind
        self.size = size
        self.latencyNanoseconds = latencyNanoseconds
        self.readZeroes = readZeroes
    }

    /// Checks the values. Errors: one is out of range.
    func check() throws(BlockError) {
        if let size, size < 0 { throw BlockError("Value '\(size)' is out of range for parameter 'size'") }
        if latencyNanoseconds < 0 { throw BlockError("latency-ns is invalid") }
        if let size, size > BlockNode.maximumLength {
            throw BlockError("Could not refresh total sector count", causedBy: .EFBIG)
        }
    }
}
