import CJansson

/// Why a text is not JSON.
public struct JSONParseError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The line, from 1.
    public let line: Int
    /// The column, from 1.
    public let column: Int
    /// What is wrong, in the words of libjansson.
    public let reason: String

    /// The place and the reason.
    public var description: String { "\(line):\(column): \(reason)" }
}

extension JSON {
    /// Parses one JSON value, with nothing but white space around it.
    ///
    /// Arrays and objects may nest 2048 levels. Member names are unique in an object and hold no U+0000. An integer that
    /// does not fit 64 bits becomes the nearest `number`.
    /// - Parameter text: UTF-8, as RFC 8259 has it.
    /// - Throws: `JSONParseError` when the text is not such a value.
    public init(parsing text: [UInt8]) throws(JSONParseError) {
        var numbers = NumberScanner()
        let plain = numbers.scan(text)
        var error = json_error_t()
        let flags = JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES
        let root = plain.withUnsafeBytes { bytes in
            json_loadb(bytes.baseAddress, bytes.count, Int(flags), &error)
        }
        guard let root else { throw JSONParseError(error) }
        defer { json_decref(root) }
        var reals = numbers.values[...]
        self = JSON(root, &reals)
    }

    /// Parses one JSON value: see `init(parsing:)` for bytes.
    public init(parsing text: String) throws(JSONParseError) {
        try self.init(parsing: Array(text.utf8))
    }

    /// Converts a value of libjansson.
    /// - Parameter reals: The numbers that stand for the reals of the value, in the order of the text; those used are
    ///   removed.
    fileprivate init(_ value: UnsafeMutablePointer<json_t>, _ reals: inout ArraySlice<JSON>) {
        switch value.pointee.type {
        case JSON_OBJECT: self = .object(JSONObject(value, &reals))
        case JSON_ARRAY:
            var elements: [JSON] = []
            let count = json_array_size(value)
            elements.reserveCapacity(count)
            for index in 0..<count {
                if let element = json_array_get(value, index) { elements.append(JSON(element, &reals)) }
            }
            self = .array(elements)
        case JSON_STRING:
            self = .string(String(checked: json_string_value(value), count: Int(json_string_length(value))))
        case JSON_INTEGER: self = .integer(json_integer_value(value))
        case JSON_REAL: self = reals.popFirst() ?? .number(json_real_value(value))
        case JSON_TRUE: self = .bool(true)
        case JSON_FALSE: self = .bool(false)
        default: self = .null
        }
    }
}

extension JSONObject {
    fileprivate init(_ object: UnsafeMutablePointer<json_t>, _ reals: inout ArraySlice<JSON>) {
        self.init()
        reserveCapacity(json_object_size(object))
        var iterator = json_object_iter(object)
        while iterator != nil, let value = json_object_iter_value(iterator) {
            let name = String(checked: json_object_iter_key(iterator), count: Int(json_object_iter_key_len(iterator)))
            append(uniqueName: name, value: JSON(value, &reals))
            iterator = json_object_iter_next(object, iterator)
        }
    }
}

extension String {
    /// A string from UTF-8 that libjansson has checked.
    fileprivate init(checked text: UnsafePointer<CChar>?, count: Int) {
        let bytes = UnsafeRawBufferPointer(start: text, count: count)
        self = String(decoding: bytes, as: UTF8.self)
    }
}

extension JSONParseError {
    fileprivate init(_ error: json_error_t) {
        line = Int(error.line)
        column = Int(error.column)
        reason = withUnsafeBytes(of: error.text) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }
}
