import JSON

extension Schema {
    /// Reads a schema from the text of its files, in order, and checks it.
    ///
    /// Throws `SchemaError` at the first thing that is wrong.
    public init(files: [(name: String, text: String)]) throws(SchemaError) {
        for file in files {
            var reader = SchemaReader(file: file.name, text: file.text)
            self.files.append(try reader.read())
            nameExceptions.formUnion(reader.nameExceptions)
        }
        try check()
    }
}

/// Turns the text of one file into definitions.
struct SchemaReader {
    let file: String
    let text: String
    private(set) var nameExceptions: Set<String> = []

    init(file: String, text: String) {
        self.file = file
        self.text = text
    }

    mutating func read() throws(SchemaError) -> SchemaFile {
        let json: JSON
        do {
            json = try JSON(parsing: text)
        } catch {
            throw SchemaError(place: SchemaPlace(file: file, line: error.line, subject: ""), message: error.reason)
        }
        guard case .array(let elements) = json else {
            throw SchemaError(place: SchemaPlace(file: file, line: 1, subject: ""), message: "expected an array")
        }
        var result = SchemaFile(name: file, title: file)
        for element in elements {
            guard case .object(let object) = element else {
                throw SchemaError(
                    place: SchemaPlace(file: file, line: 1, subject: ""), message: "every element must be an object")
            }
            if object["pragma"] != nil {
                try readPragma(object, into: &result)
            } else {
                result.definitions.append(try readDefinition(object))
            }
        }
        return result
    }

    private mutating func readPragma(_ object: JSONObject, into file: inout SchemaFile) throws(SchemaError) {
        let outer = SchemaFields(object, place: place("pragma", nil))
        let pragma = SchemaFields(try outer.object("pragma"), place: outer.place)
        try pragma.allow(["title", "doc", "name-exceptions"])
        file.title = try pragma.optionalString("title") ?? file.title
        file.doc = try pragma.optionalString("doc") ?? file.doc
        nameExceptions.formUnion(try pragma.strings("name-exceptions"))
    }

    private func readDefinition(_ object: JSONObject) throws(SchemaError) -> Definition {
        let keywords = ["struct", "enum", "union", "alternate", "command", "event"]
        guard let keyword = keywords.first(where: { object[$0] != nil }), case .string(let name) = object[keyword]
        else {
            throw SchemaError(
                place: SchemaPlace(file: file, line: 1, subject: ""),
                message: "a definition is a struct, enum, union, alternate, command, event, or pragma")
        }
        let fields = SchemaFields(object, place: place(keyword, name))
        let common = [keyword, "doc", "since", "features", "data"]
        let kind: Definition.Kind
        switch keyword {
        case "struct":
            try fields.allow(common + ["base"])
            kind = .struct(
                StructDefinition(base: try fields.optionalString("base"), members: try fields.members("data")))
        case "enum":
            try fields.allow(common)
            kind = .enum(try fields.enumValues())
        case "union":
            try fields.allow(common + ["base", "discriminator"])
            kind = .union(try fields.union())
        case "alternate":
            try fields.allow(common)
            kind = .alternate(try fields.branches())
        case "command":
            try fields.allow(
                common + [
                    "returns", "returns-doc", "boxed", "allow-oob", "allow-preconfig", "success-response", "errors",
                ])
            kind = .command(try fields.command(name))
        default:
            try fields.allow(common)
            kind = .event(
                EventDefinition(
                    name: name, data: try fields.data("data"), doc: try fields.doc(), features: try fields.features()))
        }
        return Definition(
            name: name, doc: try fields.doc(), since: try fields.optionalString("since") ?? "",
            features: try fields.features(), place: fields.place, kind: kind)
    }

    /// The place of a definition: the line that names it.
    private func place(_ keyword: String, _ name: String?) -> SchemaPlace {
        let key = "\"\(keyword)\":"
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        let found = lines.firstIndex { line in
            line.contains(key) && (name.map { line.contains("\"\($0)\"") } ?? true)
        }
        let subject = name.map { "\(keyword) '\($0)'" } ?? keyword
        return SchemaPlace(file: file, line: (found ?? 0) + 1, subject: subject)
    }
}
