import JSON

/// A folder with the files of a schema: `schema.json` lists the names of the others in order.
public struct SchemaFolder {
    private let path: String

    /// The folder at a path.
    public init(path: String) {
        self.path = path
    }

    /// Reads and checks the schema. Throws `SchemaError` where it is wrong, `TextFileError` where a file cannot be read.
    public func read() throws -> Schema {
        let list = "schema.json"
        let place = SchemaPlace(file: list, line: 1, subject: "")
        guard case .array(let names) = try JSON(parsing: try TextFile(path: "\(path)/\(list)").read()) else {
            throw SchemaError(place: place, message: "expected an array of file names")
        }
        var files: [(name: String, text: String)] = []
        for name in names {
            guard case .string(let name) = name else {
                throw SchemaError(place: place, message: "expected an array of file names")
            }
            files.append((name, try TextFile(path: "\(path)/\(name)").read()))
        }
        return try Schema(files: files)
    }
}
