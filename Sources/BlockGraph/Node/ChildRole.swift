/// What a child node is to its parent.
public struct ChildRole: OptionSet, Hashable, Sendable {
    /// The bits; see the members.
    public let rawValue: UInt8

    /// A role from its bits.
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// Guest data lives there.
    public static let data = ChildRole(rawValue: 1)
    /// The format's metadata lives there.
    public static let metadata = ChildRole(rawValue: 2)
    /// The parent is a filter of this child: both show the same data.
    public static let filtered = ChildRole(rawValue: 4)
    /// Data that the parent does not have is found there.
    public static let copyOnWrite = ChildRole(rawValue: 8)
    /// The child that stands for the parent where one must be named.
    public static let primary = ChildRole(rawValue: 16)
}
