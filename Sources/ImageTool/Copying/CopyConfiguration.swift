/// How images are copied.
struct CopyConfiguration: Hashable, Sendable {
    /// The most bytes of one request: a multiple of `BlockStatus` granularity that any format has.
    static let chunkSize: Int64 = 2 << 20

    /// The number of requests at a time.
    var workers = 8
    /// The fewest zero bytes in a row that are left out of data, in bytes; 0: nothing is left out, zeroes are written.
    var sparseSize: Int64 = 4096
    /// The target's unit of allocation in bytes: a part of it that is not zero makes the whole data.
    var granularity: Int64 = 512
    /// Whether the data is written in compressed form, a unit of allocation at a time.
    var isCompressed = false
    /// Whether the target reads as zeroes where nothing was written.
    var isTargetZero = false
    /// Whether what the source's topmost layer does not have is found in the target's backing image.
    var hasTargetBacking = false
    /// Whether data that cannot be read is replaced by zeroes.
    var salvages = false
    /// Whether requests may reach the target in any order.
    var isUnordered = false
    /// The most bytes written in a second; 0 for no limit.
    var bytesPerSecond: Int64 = 0
}
