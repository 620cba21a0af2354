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
