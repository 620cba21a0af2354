/// How a write, or a write of zeroes, is to be done.
public struct WriteFlags: OptionSet, Hashable, Sendable {
    /// The bits; see the members.
    public let rawValue: UInt16

    /// Flags from their bits.
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    /// The data is durable when the request returns (force unit access).
    public static let forceUnitAccess = WriteFlags(rawValue: 1)
    /// Zeroes may be made by deallocating the range.
    public static let mayUnmap = WriteFlags(rawValue: 2)
    /// Zeroes must be quicker than writing them, else the request fails with ENOTSUP.
    public static let noFallback = WriteFlags(rawValue: 4)
    /// Overlapping requests to the node wait until this one is done.
    public static let serialising = WriteFlags(rawValue: 8)
    /// What readers see does not change: dirty bitmaps need not know, and the permission is `writeUnchanged`.
    public static let unchanged = WriteFlags(rawValue: 16)
    /// Of zeroes: where a file has a hole it may stay, also where zeroes are to be allocated.
    public static let leavingHoles = WriteFlags(rawValue: 64)
    /// The data goes into the target's own allocation in compressed form.
    public static let compressed = WriteFlags(rawValue: 32)
}
