/// Where in a schema something stands.
struct SchemaPlace: Sendable, Hashable {
    let file: String
    let line: Int
    /// What stands there, such as `struct 'ImageInfo'`; empty for a file as a whole.
    let subject: String
}

/// What is wrong with a schema, and where.
public struct SchemaError: Error, Sendable, Hashable, CustomStringConvertible {
    let place: SchemaPlace
    let message: String

    /// `file:line: In struct 'X': message`, as compilers report errors.
    public var description: String {
        let context = place.subject.isEmpty ? "" : "In \(place.subject): "
        return "\(place.file):\(place.line): error: \(context)\(message)"
    }
}
