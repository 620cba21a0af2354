/// The sizes of requests that a driver takes. The node cuts, pads and aligns requests so that the driver sees no other.
public struct BlockLimits: Hashable, Sendable {
    /// Offsets and lengths of reads and writes are multiples of it: a power of two, in bytes.
    public var requestAlignment: Int64 = 1
    /// The most bytes of one read or write; a multiple of `requestAlignment`.
    public var maximumTransfer: Int64 = 1 << 30
    /// Writes of zeroes are efficient in multiples of it; a multiple of `requestAlignment`.
    public var writeZeroesAlignment: Int64 = 1
    /// The most bytes of one write of zeroes.
    public var maximumWriteZeroes: Int64 = 1 << 30
    /// Discards work in multiples of it; a multiple of `requestAlignment`.
    public var discardAlignment: Int64 = 1
    /// The most bytes of one discard.
    public var maximumDiscard: Int64 = 1 << 30
    /// The smallest request that is done at full speed, in bytes; 0 where unknown.
    public var optimalTransfer: Int64 = 0
    /// The alignment that the memory of a request must have, in bytes.
    public var memoryAlignment: Int = 1

    /// The limits of a driver that takes everything.
    public init() {}
}
