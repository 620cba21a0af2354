/// A JSON value as QMP uses it.
///
/// Numbers keep the three kinds that the protocol tells apart: an integer is `integer` where it fits 64 bits with sign,
/// else `unsigned` where it fits 64 bits without, else `number`.
public enum JSON: Sendable, Hashable {
    /// `null`.
    case null
    /// `true` or `false`.
    case bool(Bool)
    /// An integer from -2^63 to 2^63 - 1.
    case integer(Int64)
    /// An integer from 2^63 to 2^64 - 1.
    case unsigned(UInt64)
    /// Any other number.
    case number(Double)
    /// A string; it may hold U+0000.
    case string(String)
    /// An array.
    case array([JSON])
    /// An object.
    case object(JSONObject)
}

extension JSON: ExpressibleByStringLiteral, ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral,
    ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral, ExpressibleByNilLiteral
{
    /// A string.
    public init(stringLiteral value: String) { self = .string(value) }
    /// A boolean.
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    /// An integer.
    public init(integerLiteral value: Int64) { self = .integer(value) }
    /// An array of the elements.
    public init(arrayLiteral elements: JSON...) { self = .array(elements) }
    /// An object with the members in the order given; a name that repeats keeps its last value.
    public init(dictionaryLiteral elements: (String, JSON)...) { self = .object(JSONObject(elements)) }
    /// `null`.
    public init(nilLiteral: ()) { self = .null }
}
