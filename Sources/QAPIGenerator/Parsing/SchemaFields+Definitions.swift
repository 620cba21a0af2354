import JSON

extension SchemaFields {
    /// The members in an object of `name: type` or `name: {"type": ..., ...}`; `*` before a name makes it optional.
    func members(_ key: String) throws(SchemaError) -> [Member] {
        guard object[key] != nil else { throw error("'\(key)' is missing") }
        var result: [Member] = []
        for (name, value) in try object(key).members { result.append(try member(name, value)) }
        return result
    }

    private func member(_ starredName: String, _ json: JSON) throws(SchemaError) -> Member {
        let isOptional = starredName.hasPrefix("*")
        let name = isOptional ? String(starredName.dropFirst()) : starredName
        let inner = SchemaPlace(file: place.file, line: place.line, subject: "\(place.subject), member '\(name)'")
        guard case .object(let object) = json else {
            throw SchemaError(place: inner, message: "expected an object with 'type' and 'doc'")
        }
        let fields = SchemaFields(object, place: inner)
        try fields.allow(["type", "doc", "default", "since", "features"])
        let defaultValue = try fields.optionalString("default") ?? ""
        if !isOptional, !defaultValue.isEmpty { throw fields.error("only an optional member has a default") }
        return Member(
            name: name, isOptional: isOptional, type: try fields.type(object["type"]), doc: try fields.doc(),
            defaultValue: defaultValue, since: try fields.optionalString("since") ?? "",
            features: try fields.features())
    }

    /// Members on the spot, or the name of a type; nothing means no members.
    func data(_ key: String) throws(SchemaError) -> Data {
        switch object[key] {
        case nil: .members([])
        case .string(let name): .type(name)
        default: .members(try members(key))
        }
    }

    func enumValues() throws(SchemaError) -> [EnumValue] {
        var result: [EnumValue] = []
        for element in try array("data") {
            guard case .object(let object) = element else { throw error("a value is an object with 'name' and 'doc'") }
            let fields = SchemaFields(object, place: place)
            try fields.allow(["name", "doc", "since", "features"])
            result.append(
                EnumValue(
                    name: try fields.name(), doc: try fields.doc(), since: try fields.optionalString("since") ?? "",
                    features: try fields.features()))
        }
        return result
    }

    func union() throws(SchemaError) -> UnionDefinition {
        guard let discriminator = try optionalString("discriminator") else { throw error("'discriminator' is missing") }
        guard object["base"] != nil else { throw error("'base' is missing") }
        var variants: [UnionDefinition.Variant] = []
        for (value, type) in try object("data").members {
            guard case .string(let type) = type else { throw error("variant '\(value)' must name a struct") }
            variants.append(UnionDefinition.Variant(value: value, type: type))
        }
        return UnionDefinition(base: try data("base"), discriminator: discriminator, variants: variants)
    }

    func branches() throws(SchemaError) -> [AlternateBranch] {
        var result: [AlternateBranch] = []
        for (name, value) in try object("data").members {
            guard case .object(let object) = value else {
                throw error("branch '\(name)' must be an object with 'type' and 'doc'")
            }
            let fields = SchemaFields(object, place: place)
            try fields.allow(["type", "doc"])
            result.append(AlternateBranch(name: name, type: try fields.type(object["type"]), doc: try fields.doc()))
        }
        return result
    }

    func command(_ name: String) throws(SchemaError) -> CommandDefinition {
        let returns = try object["returns"].map { json throws(SchemaError) in try type(json) }
        return CommandDefinition(
            name: name, data: try data("data"), returns: returns, returnsDoc: try optionalString("returns-doc") ?? "",
            isBoxed: try flag("boxed", default: false), allowsOutOfBand: try flag("allow-oob", default: false),
            allowsPreconfig: try flag("allow-preconfig", default: false),
            hasSuccessResponse: try flag("success-response", default: true), errors: try strings("errors"),
            doc: try doc(), features: try features())
    }
}
