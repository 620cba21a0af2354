extension Schema {
    /// A struct's definition, nil where the name is not that of a struct.
    func structNamed(_ name: String) -> StructDefinition? {
        if case .struct(let definition) = types[name]?.kind { definition } else { nil }
    }

    /// A union's definition, nil where the name is not that of a union.
    func unionNamed(_ name: String) -> UnionDefinition? {
        if case .union(let definition) = types[name]?.kind { definition } else { nil }
    }

    /// The values of an enumeration, nil where the name is not that of an enumeration.
    func enumNamed(_ name: String) -> [EnumValue]? {
        if case .enum(let values) = types[name]?.kind { values } else { nil }
    }

    /// The members of a struct, those of its base first.
    func members(of definition: StructDefinition) -> [Member] {
        let inherited = definition.base.flatMap(structNamed).map(members(of:)) ?? []
        return inherited + definition.members
    }

    /// The members on the spot or of the struct that is named; of a union, those that it always has.
    func members(of data: Data) -> [Member] {
        switch data {
        case .members(let members): return members
        case .type(let name):
            if let found = structNamed(name) { return members(of: found) }
            if let found = unionNamed(name) { return members(of: found.base) }
            return []
        }
    }

    /// The members that a type has whatever their values are.
    func commonMembers(of definition: Definition) -> [Member] {
        switch definition.kind {
        case .struct(let found): members(of: found)
        case .union(let found): members(of: found.base)
        default: []
        }
    }

    /// The enumeration that the discriminator of a union has as its type.
    func tagType(of union: UnionDefinition) -> String? {
        members(of: union.base).first { $0.name == union.discriminator }?.type.namedType
    }

    /// The variants of a union for every value of its discriminator, in the enumeration's order; values that bring no
    /// members have no type.
    func variants(of union: UnionDefinition) -> [(value: EnumValue, type: String?)] {
        guard let tag = tagType(of: union), let values = enumNamed(tag) else { return [] }
        return values.map { value in (value, union.variants.first { $0.value == value.name }?.type) }
    }

    /// Whether a value of the struct or union `outer` holds one of `inner` without an array, map, alternate, or
    /// variant in between.
    func holds(_ outer: String, _ inner: String) -> Bool {
        var seen: Set<String> = []
        var pending = [outer]
        while let name = pending.popLast() {
            guard seen.insert(name).inserted, let definition = types[name] else { continue }
            for member in commonMembers(of: definition) {
                guard case .named(let type) = member.type else { continue }
                if type == inner { return true }
                pending.append(type)
            }
        }
        return false
    }

    /// Whether a member of a type must be stored indirectly, since it may hold a value of that type.
    func isRecursive(_ member: Member, in type: String) -> Bool {
        guard case .named(let name) = member.type else { return false }
        return name == type || holds(name, type)
    }
}
