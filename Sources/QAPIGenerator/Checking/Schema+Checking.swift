extension Schema {
    /// Checks all definitions and fills `types`.
    mutating func check() throws(SchemaError) {
        var names: Set<String> = []
        for definition in definitions {
            if !names.insert(definition.name).inserted { throw definition.error("the name is already taken") }
            if Builtin(rawValue: definition.name) != nil {
                throw definition.error("the name is that of a built-in type")
            }
            switch definition.kind {
            case .command, .event: break
            default: types[definition.name] = definition
            }
        }
        for definition in definitions { try checkBases(definition) }
        for definition in definitions {
            try checkNames(definition)
            switch definition.kind {
            case .struct(let found): try check(members: members(of: found), of: definition)
            case .enum(let values): try check(values, of: definition)
            case .union(let union): try check(union, of: definition)
            case .alternate(let branches): try check(branches, of: definition)
            case .command(let command): try check(command, of: definition)
            case .event(let event):
                try check(data: event.data, allowsUnion: false, of: definition)
            }
        }
    }

    /// Follows the bases of a struct, which must be structs and must come to an end.
    private func checkBases(_ definition: Definition) throws(SchemaError) {
        var seen: Set<String> = [definition.name]
        var kind = definition.kind
        while case .struct(let found) = kind, let base = found.base {
            guard let next = types[base], case .struct = next.kind else {
                throw definition.error("base '\(base)' is not a struct")
            }
            if !seen.insert(base).inserted { throw definition.error("the struct is its own base") }
            kind = next.kind
        }
    }

    private func check(members: [Member], of definition: Definition) throws(SchemaError) {
        var names: Set<String> = []
        var swiftNames: Set<String> = []
        for member in members {
            if !names.insert(member.name).inserted { throw definition.error("member '\(member.name)' appears twice") }
            if !swiftNames.insert(Naming.member(member.name)).inserted {
                throw definition.error("member '\(member.name)' has the same name in Swift as another")
            }
            try check(member.type, of: definition, "member '\(member.name)'")
        }
    }

    private func check(_ type: TypeReference, of definition: Definition, _ role: String) throws(SchemaError) {
        if let name = type.namedType, types[name] == nil {
            throw definition.error("\(role) has unknown type '\(name)'")
        }
        switch type {
        case .array(.builtin(.size)), .map(.builtin(.size)):
            throw definition.error("\(role) cannot be a collection of 'size'; use 'uint64'")
        default: break
        }
    }

    private func check(_ values: [EnumValue], of definition: Definition) throws(SchemaError) {
        var names: Set<String> = []
        if values.isEmpty { throw definition.error("there is no value") }
        for value in values where !names.insert(value.name).inserted {
            throw definition.error("value '\(value.name)' appears twice")
        }
    }

    private func check(_ union: UnionDefinition, of definition: Definition) throws(SchemaError) {
        if case .type(let name) = union.base, structNamed(name) == nil {
            throw definition.error("base '\(name)' is not a struct")
        }
        let base = members(of: union.base)
        try check(members: base, of: definition)
        guard let tag = base.first(where: { $0.name == union.discriminator }) else {
            throw definition.error("discriminator '\(union.discriminator)' is not a member of the base")
        }
        guard !tag.isOptional, case .named(let name) = tag.type, let values = enumNamed(name) else {
            throw definition.error("discriminator '\(tag.name)' must be a mandatory enumeration")
        }
        for variant in union.variants {
            guard values.contains(where: { $0.name == variant.value }) else {
                throw definition.error("variant '\(variant.value)' is not a value of '\(name)'")
            }
            guard let found = structNamed(variant.type) else {
                throw definition.error("variant '\(variant.value)' must name a struct")
            }
            let own = members(of: found)
            if let clash = own.first(where: { member in base.contains { $0.name == member.name } }) {
                throw definition.error("member '\(clash.name)' of variant '\(variant.value)' is also in the base")
            }
        }
    }

    private func check(_ branches: [AlternateBranch], of definition: Definition) throws(SchemaError) {
        var seen: Set<String> = []
        if branches.count < 2 { throw definition.error("an alternate needs two branches") }
        for branch in branches {
            try check(branch.type, of: definition, "branch '\(branch.name)'")
            guard let kind = jsonKind(of: branch.type) else {
                throw definition.error("branch '\(branch.name)' cannot be told apart from others")
            }
            if !seen.insert(kind).inserted {
                throw definition.error("branch '\(branch.name)' looks like another branch in JSON")
            }
        }
    }

    /// What a value of the type is in JSON, as `QAPIValue.Kind` names it; nil where that depends on the value.
    func jsonKind(of type: TypeReference) -> String? {
        switch type {
        case .array: return "array"
        case .map: return "object"
        case .builtin(.any): return nil
        case .builtin(let builtin):
            return ["int": "number", "boolean": "bool"][builtin.jsonType] ?? builtin.jsonType
        case .named(let name):
            switch types[name]?.kind {
            case .struct, .union: return "object"
            case .enum: return "string"
            default: return nil
            }
        }
    }

    private func check(_ command: CommandDefinition, of definition: Definition) throws(SchemaError) {
        if command.isBoxed {
            guard case .type = command.data else {
                throw definition.error("'boxed' needs the name of a type as 'data'")
            }
        }
        try check(data: command.data, allowsUnion: command.isBoxed, of: definition)
        if let returns = command.returns { try check(returns, of: definition, "'returns'") }
    }

    private func check(data: Data, allowsUnion: Bool, of definition: Definition) throws(SchemaError) {
        switch data {
        case .members(let members): try check(members: members, of: definition)
        case .type(let name):
            if structNamed(name) == nil, !(allowsUnion && unionNamed(name) != nil) {
                let isUnion = unionNamed(name) != nil
                throw definition.error(
                    isUnion ? "'data' can be a union only with 'boxed'" : "'data' names no struct: '\(name)'")
            }
        }
    }
}

extension Definition {
    /// Something is wrong with this definition.
    func error(_ message: String) -> SchemaError { SchemaError(place: place, message: message) }
}
