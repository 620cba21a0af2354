import JSON

extension QAPIValue {
    /// The JSON types that an alternate tells apart.
    public enum Kind: Sendable, Hashable {
        /// `null`.
        case null
        /// A boolean.
        case bool
        /// A number of any kind.
        case number
        /// A string.
        case string
        /// An array.
        case array
        /// An object.
        case object
    }

    /// The JSON type of the value.
    public var kind: Kind {
        switch json {
        case .null: .null
        case .bool: .bool
        case .integer, .unsigned, .number: .number
        case .string: .string
        case .array: .array
        case .object: .object
        }
    }
}

/// The arguments of a command that takes none.
public struct QMPNoArguments: QAPIStruct {
    /// No arguments.
    public init() {}

    /// Takes no members.
    public init(members: inout QAPIMembers) throws(QMPError) {}

    /// Appends nothing.
    public func encode(into object: inout JSONObject) {}
}
