/// What is known about a run of bytes of a node.
public struct BlockStatus: Equatable, Sendable {
    /// The run's length in bytes from the offset that was asked for: at least 1, unless at the end of the node.
    public var length: Int64
    /// The bytes hold data that may not be zero, or that take up space.
    public var isData: Bool
    /// The bytes read as zeroes.
    public var isZero: Bool
    /// The bytes come from this layer and not from the backing file.
    public var isAllocated: Bool
    /// Where the bytes lie in `file`, in bytes; nil where there is no such place (compressed, zero or in many places).
    public var hostOffset: Int64?
    /// The node to whose bytes `hostOffset` refers.
    public var file: BlockNode?
    /// The bytes lie in compressed form, so that there is no place for each of them.
    public var isCompressed = false
    /// The run ends at the end of the node.
    public var isEndOfFile: Bool
    /// The zero status of the run is better asked from `file` at `hostOffset`.
    public var asksFile: Bool

    /// A run with the given properties.
    public init(
        length: Int64, isData: Bool = false, isZero: Bool = false, isAllocated: Bool = false,
        hostOffset: Int64? = nil, file: BlockNode? = nil, asksFile: Bool = false
    ) {
        self.length = length
        self.isData = isData
        self.isZero = isZero
        self.isAllocated = isAllocated
        self.hostOffset = hostOffset
        self.file = file
        self.isEndOfFile = false
        self.asksFile = asksFile
    }

    /// Statuses are equal when they say the same of the same node.
    public static func == (a: BlockStatus, b: BlockStatus) -> Bool {
        a.length == b.length && a.isData == b.isData && a.isZero == b.isZero && a.isAllocated == b.isAllocated
            && a.hostOffset == b.hostOffset && a.file === b.file && a.isCompressed == b.isCompressed
            && a.isEndOfFile == b.isEndOfFile
    }
}

/// How much effort a block status query may take.
public enum BlockStatusPrecision: Sendable {
    /// Find out which bytes are zero, asking the file system where need be.
    case zeroes
    /// Only allocation matters: cheap answers in long runs.
    case allocation
}
