import JSON

/// The value of a command line option that takes dotted keys, such as `driver=file,cache.direct=on,children.0=a`.
///
/// Scalars stay strings: decode the object with `QAPIMode.keyval`.
public struct Keyval: Sendable, Hashable {
    /// The keys and values as objects, arrays and strings.
    public let object: JSONObject
    /// Whether `help` or `?` stood among the keys.
    public let asksForHelp: Bool

    /// Parses an option's value. The empty string has no keys.
    ///
    /// A comma separates keys; in a value `,,` stands for a comma. Of a key that repeats the last value counts. Keys
    /// that are all digits make arrays.
    /// - Parameter impliedKey: The key of a first part without `=`; nil where every part needs a key.
    /// - Throws: `GenericError` in QEMU's words, such as "Expected '=' after parameter 'x'".
    public init(_ text: String, impliedKey: String? = nil) throws(QMPError) {
        var parser = KeyvalParser(text, impliedKey: impliedKey)
        object = try parser.parse().object()
        asksForHelp = parser.asksForHelp
    }
}

extension Keyval {
    /// Decodes an option's value: dotted keys, or a JSON object where it starts with `{`.
    ///
    /// - Parameter parseJSON: Parses the JSON text; its errors are passed on.
    /// - Throws: `GenericError` where the text is wrong, where it does not fit `type`, and "Help is not available for
    ///   this option" where it asks for help.
    public static func decode<T: QAPIStruct>(
        _ type: T.Type, from text: String, impliedKey: String? = nil,
        parseJSON: (String) throws(QMPError) -> JSON
    ) throws(QMPError) -> T {
        if text.utf8.first == UInt8(ascii: "{") {
            return try T(decoding: QAPIValue(try parseJSON(text)))
        }
        let keyval = try Keyval(text, impliedKey: impliedKey)
        if keyval.asksForHelp { throw QMPError("Help is not available for this option") }
        return try T(decoding: keyval.object, mode: .keyval)
    }
}
