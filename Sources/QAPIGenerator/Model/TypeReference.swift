/// The type of a member, an element, or a result.
indirect enum TypeReference: Sendable, Hashable {
    case builtin(Builtin)
    case named(String)
    case array(TypeReference)
    /// An object whose members' names are data and whose members all have one type.
    case map(TypeReference)

    /// The type as the schema's readers know it.
    var spelling: String {
        switch self {
        case .builtin(let builtin): builtin.rawValue
        case .named(let name): name
        case .array(let element): "[\(element.spelling)]"
        case .map(let value): "{name: \(value.spelling)}"
        }
    }

    /// The name of the type at the bottom, nil where that is built in.
    var namedType: String? {
        switch self {
        case .builtin: nil
        case .named(let name): name
        case .array(let element), .map(let element): element.namedType
        }
    }
}

/// The types that need no definition.
enum Builtin: String, Sendable, CaseIterable {
    case str, int, int8, int16, int32, int64, uint8, uint16, uint32, uint64, size, number, bool, any, null

    /// The type in Swift.
    var swiftName: String {
        switch self {
        case .str: "String"
        case .int, .int64: "Int64"
        case .int8: "Int8"
        case .int16: "Int16"
        case .int32: "Int32"
        case .uint8: "UInt8"
        case .uint16: "UInt16"
        case .uint32: "UInt32"
        case .uint64, .size: "UInt64"
        case .number: "Double"
        case .bool: "Bool"
        case .any: "JSON"
        case .null: "QAPINull"
        }
    }

    /// The JSON type as `query-qmp-schema` names it.
    var jsonType: String {
        switch self {
        case .str: "string"
        case .number: "number"
        case .bool: "boolean"
        case .any: "value"
        case .null: "null"
        default: "int"
        }
    }

    /// The name in `query-qmp-schema`, where all integers are one.
    var introspectedName: String { jsonType == "int" ? "int" : rawValue }
}
