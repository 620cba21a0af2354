/// What a parent may do with a node, and what it lets other parents do.
///
/// The bit values are also the byte offsets of the image lock protocol: bit n of the permissions in use is the byte
/// 100 + n of the file, bit n of the permissions that are not shared is the byte 200 + n.
public struct BlockPermissions: OptionSet, Hashable, Sendable {
    /// The bits; see the members.
    public let rawValue: UInt8

    /// A set from its bits.
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// Reads see a consistent point in time of the data.
    public static let consistentRead = BlockPermissions(rawValue: 1)
    /// Writes that change what readers see.
    public static let write = BlockPermissions(rawValue: 2)
    /// Writes that leave what readers see as it is.
    public static let writeUnchanged = BlockPermissions(rawValue: 4)
    /// Changes of the node's length.
    public static let resize = BlockPermissions(rawValue: 8)

    /// Everything.
    public static let all: BlockPermissions = [.consistentRead, .write, .writeUnchanged, .resize]

    /// The names used in messages, in bit order, joined by ", ".
    public var description: String {
        let names = ["consistent read", "write", "write unchanged", "resize"]
        return names.indices.filter { rawValue & (1 << UInt8($0)) != 0 }.map { names[$0] }.joined(separator: ", ")
    }

    /// The names used in QMP, in bit order.
    public var wireNames: [String] {
        let names = ["consistent-read", "write", "write-unchanged", "resize"]
        return names.indices.filter { rawValue & (1 << UInt8($0)) != 0 }.map { names[$0] }
    }
}

/// The permissions that one parent takes on a node and those that it shares with other parents.
public struct PermissionPair: Hashable, Sendable {
    /// What the parent does.
    public var used: BlockPermissions
    /// What other parents may do at the same time.
    public var shared: BlockPermissions

    /// A pair; by default nothing is used and everything shared.
    public init(used: BlockPermissions = [], shared: BlockPermissions = .all) {
        self.used = used
        self.shared = shared
    }
}
