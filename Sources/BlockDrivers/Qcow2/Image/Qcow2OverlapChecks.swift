/// The structures of an image that writes are checked not to hit. The names are those of QMP's `Qcow2OverlapCheckFlags`.
public struct Qcow2OverlapChecks: OptionSet, Hashable, Sendable {
    /// The bits; see the members.
    public let rawValue: UInt16

    /// A set from its bits.
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    /// The header's cluster.
    public static let mainHeader = Qcow2OverlapChecks(rawValue: 1)
    /// The L1 table in use.
    public static let activeL1 = Qcow2OverlapChecks(rawValue: 2)
    /// The L2 tables that the L1 table in use refers to.
    public static let activeL2 = Qcow2OverlapChecks(rawValue: 4)
    /// The refcount table.
    public static let refcountTable = Qcow2OverlapChecks(rawValue: 8)
    /// The refcount blocks.
    public static let refcountBlock = Qcow2OverlapChecks(rawValue: 16)
    /// The list of internal snapshots.
    public static let snapshotTable = Qcow2OverlapChecks(rawValue: 32)
    /// The L1 tables of internal snapshots.
    public static let inactiveL1 = Qcow2OverlapChecks(rawValue: 64)
    /// The L2 tables of internal snapshots, which are read for it at every write.
    public static let inactiveL2 = Qcow2OverlapChecks(rawValue: 128)
    /// The directory of persistent bitmaps.
    public static let bitmapDirectory = Qcow2OverlapChecks(rawValue: 256)

    /// No check.
    public static let none: Qcow2OverlapChecks = []
    /// What takes constant time and reads nothing.
    public static let constant: Qcow2OverlapChecks = [
        .mainHeader, .activeL1, .refcountTable, .snapshotTable, .bitmapDirectory,
    ]
    /// What reads nothing from the image.
    public static let cached: Qcow2OverlapChecks = [.constant, .activeL2, .refcountBlock, .inactiveL1]
    /// Everything.
    public static let all: Qcow2OverlapChecks = [.cached, .inactiveL2]

    /// The set that a mode of QMP stands for ("none", "constant", "cached", "all"); nil for another word.
    public init?(mode: String) {
        switch mode {
        case "none": self = .none
        case "constant": self = .constant
        case "cached": self = .cached
        case "all": self = .all
        default: return nil
        }
    }
}
