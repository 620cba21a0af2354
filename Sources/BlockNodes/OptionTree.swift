import BlockGraph
import JSON
import QAPI

/// Options as objects, where keys may be dotted and scalars may be strings: what image names and command lines hold.
enum OptionTree {
    /// How deep options may nest.
    private static let maximumDepth = 64

    /// The options with dotted keys spread out into objects: "file.filename" is "filename" in "file". Objects whose keys
    /// are the numbers from 0 are arrays.
    ///
    /// Errors: a key stands for a value and for an object; options nest too deeply.
    static func nested(_ object: JSONObject) throws(BlockError) -> JSONObject {
        var result = JSONObject()
        for (key, value) in object.members {
            let path = key.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
            try insert(value, at: path[...], depth: 0, into: &result)
        }
        return result
    }

    /// The options with every scalar as a string, as they would stand on a command line. `null` stays what it is.
    static func texts(_ value: JSON) -> JSON {
        switch value {
        case .null, .string: value
        case .bool(let flag): .string(flag ? "on" : "off")
        case .integer(let number): .string(String(number))
        case .unsigned(let number): .string(String(number))
        case .number(let number): .string(String(number))
        case .array(let elements): .array(elements.map(texts))
        case .object(let object): texts(object)
        }
    }

    /// Options that take a size with a unit, such as "64k", though QMP has them as plain numbers.
    private static let sizes: Set<String> = [
        "cache-size", "l2-cache-entry-size", "l2-cache-size", "offset", "refcount-cache-size", "size",
    ]

    private static func texts(_ object: JSONObject) -> JSON {
        let members = object.members.map { member in
            if sizes.contains(member.name), case .string(let text) = member.value, let size = KeyvalNumber.size(text) {
                return (member.name, JSON.string(String(size)))
            }
            return (member.name, texts(member.value))
        }
        let isList = !members.isEmpty && members.allSatisfy { Int($0.0) != nil }
        guard isList else { return .object(JSONObject(members)) }
        return .array(members.sorted { (Int($0.0) ?? 0) < (Int($1.0) ?? 0) }.map(\.1))
    }

    private static func insert(
        _ value: JSON, at path: ArraySlice<String>, depth: Int, into object: inout JSONObject
    ) throws(BlockError) {
        guard let name = path.first else { return }
        guard depth < maximumDepth else { throw BlockError("Options nest too deeply") }
        if path.count > 1 {
            var inner = try innerObject(name, of: object)
            try insert(value, at: path.dropFirst(), depth: depth + 1, into: &inner)
            object[name] = .object(inner)
        } else if case .object(let members) = value {
            var inner = try innerObject(name, of: object)
            for (key, member) in members.members {
                let path = key.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
                try insert(member, at: path[...], depth: depth + 1, into: &inner)
            }
            object[name] = .object(inner)
        } else if object[name] == nil {
            object[name] = value
        } else {
            throw BlockError("Parameters '\(name).*' used inconsistently")
        }
    }

    private static func innerObject(_ name: String, of object: JSONObject) throws(BlockError) -> JSONObject {
        switch object[name] {
        case nil: return JSONObject()
        case .object(let inner): return inner
        default: throw BlockError("Parameters '\(name).*' used inconsistently")
        }
    }
}
