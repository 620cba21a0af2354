/// What `query-qmp-schema` answers: every command and event, then the types they use, under numbers instead of names so
/// that clients do not come to rely on those.
struct Introspection {
    private let schema: Schema
    private var entities: [String] = []
    private var numbers: [String: Int] = [:]
    private var pending: [Item] = []
    private var queued: Set<String> = []

    private enum Item {
        case type(TypeReference)
        case arguments(key: String, [Member])
    }

    /// The entities of a schema as JSON texts, in the order of the answer.
    static func entities(of schema: Schema) -> [String] {
        var introspection = Introspection(schema: schema)
        introspection.run()
        return introspection.entities
    }

    private init(schema: Schema) {
        self.schema = schema
    }

    private mutating func run() {
        for definition in schema.definitions {
            switch definition.kind {
            case .command(let command):
                let arguments = use(command.data, command.argumentsName)
                let result = command.returns.map { use($0) } ?? use(.members([]), "")
                let oob = command.allowsOutOfBand ? [("allow-oob", "true")] : []
                add(
                    definition.name, "command",
                    [("arg-type", quote(arguments)), ("ret-type", quote(result))] + oob, definition.features)
            case .event(let event):
                add(
                    definition.name, "event", [("arg-type", quote(use(event.data, event.dataName)))],
                    definition.features)
            default: continue
            }
        }
        var next = 0
        while next < pending.count {
            switch pending[next] {
            case .type(let type): describe(type)
            case .arguments(let key, let members): describe(key, members, [])
            }
            next += 1
        }
    }

    /// The name of a type under which it is described, now or later.
    private mutating func use(_ type: TypeReference) -> String {
        let name = introspectedName(type)
        if queued.insert(name).inserted { pending.append(.type(type)) }
        return name
    }

    private mutating func use(_ data: Data, _ name: String) -> String {
        switch data {
        case .type(let type): return use(.named(type))
        case .members(let members):
            let key = members.isEmpty ? "" : name
            let number = number(key)
            if queued.insert(number).inserted { pending.append(.arguments(key: key, members)) }
            return number
        }
    }

    private mutating func introspectedName(_ type: TypeReference) -> String {
        switch type {
        case .builtin(let builtin): builtin.introspectedName
        case .map: Builtin.any.rawValue
        case .array(let element): "[\(introspectedName(element))]"
        case .named(let name): number(name)
        }
    }

    private mutating func number(_ name: String) -> String {
        if let known = numbers[name] { return String(known) }
        numbers[name] = numbers.count
        return String(numbers.count - 1)
    }

    private mutating func describe(_ type: TypeReference) {
        switch type {
        case .builtin(let builtin):
            add(builtin.introspectedName, "builtin", [("json-type", quote(builtin.jsonType))], [])
        case .map: add("any", "builtin", [("json-type", quote("value"))], [])
        case .array(let element):
            let inner = use(element)
            add("[\(inner)]", "array", [("element-type", quote(inner))], [])
        case .named(let name):
            if let definition = schema.types[name] { describe(definition) }
        }
    }

    private mutating func describe(_ definition: Definition) {
        switch definition.kind {
        case .struct(let found): describe(definition.name, schema.members(of: found), definition.features)
        case .union(let union):
            let members = list(schema.members(of: union.base))
            var variants: [String] = []
            for (value, type) in ordered(union) {
                let name = type.map { use(.named($0)) } ?? use(.members([]), "")
                variants.append(object([("case", quote(value)), ("type", quote(name))]))
            }
            add(
                number(definition.name), "object",
                [("members", members), ("tag", quote(union.discriminator)), ("variants", array(variants))],
                definition.features)
        case .enum(let values):
            let members = values.map { object([("name", quote($0.name))] + features($0.features)) }
            add(
                number(definition.name), "enum",
                [("members", array(members)), ("values", array(values.map { quote($0.name) }))], definition.features)
        case .alternate(let branches):
            var members: [String] = []
            for branch in branches { members.append(object([("type", quote(use(branch.type)))])) }
            add(number(definition.name), "alternate", [("members", array(members))], definition.features)
        case .command, .event: break
        }
    }

    /// The variants as the schema lists them, then the values that bring no members.
    private func ordered(_ union: UnionDefinition) -> [(value: String, type: String?)] {
        let bare = schema.variants(of: union).filter { $0.type == nil }
        return union.variants.map { ($0.value, $0.type) } + bare.map { ($0.value.name, nil) }
    }

    private mutating func describe(_ key: String, _ members: [Member], _ features: [Feature]) {
        add(number(key), "object", [("members", list(members))], features)
    }

    private mutating func list(_ members: [Member]) -> String {
        var result: [String] = []
        for member in members {
            let optional = member.isOptional ? [("default", "null")] : []
            let type = use(member.type)
            result.append(
                object([("name", quote(member.name)), ("type", quote(type))] + optional + features(member.features)))
        }
        return array(result)
    }

    private mutating func add(
        _ name: String, _ metaType: String, _ details: [(String, String)], _ features: [Feature]
    ) {
        let head = [("name", quote(name)), ("meta-type", quote(metaType))]
        entities.append(object(head + details + self.features(features)))
    }

    private func features(_ features: [Feature]) -> [(String, String)] {
        features.isEmpty ? [] : [("features", array(features.map { quote($0.name) }))]
    }

    private func object(_ members: [(String, String)]) -> String {
        "{" + members.map { "\(quote($0.0)): \($0.1)" }.joined(separator: ", ") + "}"
    }

    private func array(_ elements: [String]) -> String { "[" + elements.joined(separator: ", ") + "]" }

    /// A JSON string; names hold nothing that needs an escape.
    private func quote(_ name: String) -> String { "\"\(name)\"" }
}

extension SwiftEmitter {
    /// The answer of `query-qmp-schema` as JSON text.
    func introspection() -> String {
        var writer = SwiftWriter()
        writer.line()
        writer.doc("What `query-qmp-schema` answers.")
        writer.block("public enum QMPIntrospection") { writer in
            writer.doc("An array of `SchemaInfo` as JSON text.")
            writer.line("public static let text = #\"\"\"")
            let entities = Introspection.entities(of: schema)
            for (index, entity) in entities.enumerated() {
                let opening = index == 0 ? "[" : " "
                writer.line("    " + opening + entity + (index + 1 < entities.count ? "," : "]"))
            }
            writer.line("    \"\"\"#")
        }
        return writer.text
    }
}
