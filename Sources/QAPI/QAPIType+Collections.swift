import JSON

extension Array: QAPIType where Element: QAPIType {
    /// Decodes an array.
    public init(decoding value: QAPIValue) throws(QMPError) {
        guard case .array(let elements) = value.json else { throw value.invalidType("array") }
        self = []
        reserveCapacity(elements.count)
        for (index, element) in elements.enumerated() {
            append(
                try Element(decoding: QAPIValue(element, mode: value.mode, path: .element(value.path, index))))
        }
    }

    /// A JSON array.
    public func encode() -> JSON { .array(map { $0.encode() }) }
}

extension Dictionary: QAPIType where Key == String, Value: QAPIType {
    /// Decodes an object whose members all have one type.
    public init(decoding value: QAPIValue) throws(QMPError) {
        guard case .object(let object) = value.json else { throw value.invalidType("object") }
        self = [:]
        for (name, member) in object.members {
            self[name] = try Value(decoding: QAPIValue(member, mode: value.mode, path: .member(value.path, name)))
        }
    }

    /// A JSON object, its members in the order of their names.
    public func encode() -> JSON {
        var object = JSONObject()
        for (name, value) in sorted(by: { $0.key < $1.key }) { object.encode(name, value) }
        return .object(object)
    }
}
