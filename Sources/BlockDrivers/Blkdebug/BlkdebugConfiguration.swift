import BlockGraph
import IOLoop

/// The options of `blkdebug`. The names are those of QMP's `BlockdevOptionsBlkdebug`.
public struct BlkdebugConfiguration: Hashable, Sendable {
    /// The name of a file with rules.
    public var configFile: String?
    /// The alignment of requests in bytes, a power of two; nil or 0 for that of the image.
    public var align: Int64?
    /// The most bytes of one read or write, a multiple of the alignment; nil or 0 for no limit of its own.
    public var maxTransfer: Int64?
    /// The alignment of efficient writes of zeroes; nil or 0 for none.
    public var optWriteZero: Int64?
    /// The most bytes of one write of zeroes; nil or 0 for no limit of its own.
    public var maxWriteZero: Int64?
    /// The alignment of efficient discards; nil or 0 for none.
    public var optDiscard: Int64?
    /// The most bytes of one discard; nil or 0 for no limit of its own.
    public var maxDiscard: Int64?
    /// Rules that make requests fail.
    public var injectError: [BlkdebugInjectError] = []
    /// Rules that change the state.
    public var setState: [BlkdebugSetState] = []
    /// Permissions that are taken on the image beyond those that are needed.
    public var takeChildPermissions: BlockPermissions = []
    /// Permissions on the image that are not shared beyond those that cannot be.
    public var unshareChildPermissions: BlockPermissions = []

    /// No rules and no limits.
    public init() {}

    /// The limits of the node's requests.
    ///
    /// - Parameter imageAlignment: the alignment of the image's requests.
    /// Errors, in QEMU's words: a value is out of range, or is no multiple of what it has to be a multiple of.
    func limits(imageAlignment: Int64) throws(BlockError) -> BlockLimits {
        let align = try Self.value("align", align, multipleOf: 1)
        if align != 0, align >= Int64(Int32.max) || align & (align - 1) != 0 {
            throw BlockError("Cannot meet constraints with align \(align)")
        }
        let unit = max(align, imageAlignment)
        var limits = BlockLimits()
        limits.requestAlignment = max(align, 1)
        let transfer = try Self.value("max-transfer", maxTransfer, multipleOf: unit)
        let zeroAlignment = try Self.value("opt-write-zero", optWriteZero, multipleOf: unit)
        let zero = try Self.value("max-write-zero", maxWriteZero, multipleOf: max(zeroAlignment, unit))
        let discardAlignment = try Self.value("opt-discard", optDiscard, multipleOf: unit)
        let discard = try Self.value("max-discard", maxDiscard, multipleOf: max(discardAlignment, unit))
        if transfer > 0 { limits.maximumTransfer = transfer }
        limits.writeZeroesAlignment = max(zeroAlignment, 1)
        if zero > 0 { limits.maximumWriteZeroes = zero }
        limits.discardAlignment = max(discardAlignment, 1)
        if discard > 0 { limits.maximumDiscard = discard }
        return limits
    }

    private static func value(_ name: String, _ value: Int64?, multipleOf unit: Int64) throws(BlockError) -> Int64 {
        let value = value ?? 0
        if value < 0 { throw BlockError("Value '\(value)' is out of range for parameter '\(name)'") }
        let isTooLarge = name != "align" && value > Int64(Int32.max)
        if isTooLarge || value % unit != 0 {
            throw BlockError("Cannot meet constraints with \(name) \(value)")
        }
        return value
    }
}
