import JSON

/// The members of one object in a schema file, read with complaints that say where.
struct SchemaFields {
    let object: JSONObject
    let place: SchemaPlace

    init(_ object: JSONObject, place: SchemaPlace) {
        self.object = object
        self.place = place
    }

    func error(_ message: String) -> SchemaError { SchemaError(place: place, message: message) }

    /// Throws where a key is none of `names`.
    func allow(_ names: [String]) throws(SchemaError) {
        if let other = object.members.first(where: { !names.contains($0.name) }) {
            throw error("unknown key '\(other.name)'")
        }
    }

    func optionalString(_ key: String) throws(SchemaError) -> String? {
        switch object[key] {
        case nil: return nil
        case .string(let string): return string
        default: throw error("'\(key)' must be a string")
        }
    }

    func flag(_ key: String, default value: Bool) throws(SchemaError) -> Bool {
        switch object[key] {
        case nil: return value
        case .bool(let bool): return bool
        default: throw error("'\(key)' must be true or false")
        }
    }

    func object(_ key: String) throws(SchemaError) -> JSONObject {
        guard case .object(let value) = object[key] else { throw error("'\(key)' must be an object") }
        return value
    }

    func array(_ key: String) throws(SchemaError) -> [JSON] {
        switch object[key] {
        case nil: return []
        case .array(let elements): return elements
        default: throw error("'\(key)' must be an array")
        }
    }

    func strings(_ key: String) throws(SchemaError) -> [String] {
        var result: [String] = []
        for element in try array(key) {
            guard case .string(let string) = element else { throw error("'\(key)' must be an array of strings") }
            result.append(string)
        }
        return result
    }

    /// The documentation, which everything must have.
    func doc() throws(SchemaError) -> String {
        guard let doc = try optionalString("doc"), !doc.isEmpty else { throw error("'doc' is missing") }
        return doc
    }

    func features() throws(SchemaError) -> [Feature] {
        var result: [Feature] = []
        for element in try array("features") {
            switch element {
            case .string(let name): result.append(Feature(name: name, doc: ""))
            case .object(let feature):
                let fields = SchemaFields(feature, place: place)
                try fields.allow(["name", "doc"])
                result.append(Feature(name: try fields.name(), doc: try fields.doc()))
            default: throw error("a feature is a string or an object")
            }
        }
        return result
    }

    func name() throws(SchemaError) -> String {
        guard let name = try optionalString("name"), !name.isEmpty else { throw error("'name' is missing") }
        return name
    }

    /// The type that a JSON value describes: a name, an array of one name, or an object with `map`.
    func type(_ json: JSON?) throws(SchemaError) -> TypeReference {
        switch json {
        case .string(let name): return Builtin(rawValue: name).map { .builtin($0) } ?? .named(name)
        case .array(let elements) where elements.count == 1: return .array(try type(elements[0]))
        case .object(let object) where object.count == 1 && object["map"] != nil:
            return .map(try type(object["map"]))
        default: throw error("a type is a name, an array of one type, or {\"map\": type}")
        }
    }
}
