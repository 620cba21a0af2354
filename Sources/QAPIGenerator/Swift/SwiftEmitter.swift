/// Turns a schema into Swift sources.
public struct SwiftEmitter {
    let schema: Schema

    /// An emitter for a schema that was read without an error.
    public init(_ schema: Schema) {
        self.schema = schema
    }

    /// The names of the files that are made, whatever the schema.
    public static let fileNames = [
        "QMPTypes.swift", "QMPCommands.swift", "QMPCalls.swift", "QMPEvents.swift", "QMPIntrospection.swift",
    ]

    /// The files by name.
    public func files() -> [(name: String, text: String)] {
        [
            ("QMPTypes.swift", types()), ("QMPCommands.swift", commands()), ("QMPCalls.swift", calls()),
            ("QMPEvents.swift", events()), ("QMPIntrospection.swift", introspection()),
        ]
    }

    private func types() -> String {
        var writer = SwiftWriter()
        for definition in schema.definitions {
            switch definition.kind {
            case .struct(let found):
                emitStruct(
                    definition.name, documentation(definition), schema.members(of: found), to: &writer)
            case .enum(let values): emitEnum(definition, values, to: &writer)
            case .union(let union): emitUnion(definition, union, to: &writer)
            case .alternate(let branches): emitAlternate(definition, branches, to: &writer)
            case .command(let command):
                guard case .members(let members) = command.data, !members.isEmpty else { continue }
                emitStruct(command.argumentsName, "The arguments of `\(command.name)`.", members, to: &writer)
            case .event: continue
            }
        }
        return writer.text
    }

    /// The text and the features of a definition.
    func documentation(_ definition: Definition) -> String {
        definition.doc + featureNotes(definition.features)
    }

    /// The text, the default and the features of a member.
    func documentation(_ member: Member) -> String {
        let defaultNote = member.defaultValue.isEmpty ? "" : " Default: \(member.defaultValue)."
        return member.doc + defaultNote + featureNotes(member.features)
    }

    func featureNotes(_ features: [Feature]) -> String {
        features.map { "\n\nFeature `\($0.name)`" + ($0.doc.isEmpty ? "." : ": \($0.doc)") }.joined()
    }
}

extension CommandDefinition {
    /// The type of the arguments where the schema names none.
    var argumentsName: String { Naming.type(name) + "Arguments" }

    /// The type of the arguments, nil where there are none.
    var argumentsType: String? {
        switch data {
        case .members(let members): members.isEmpty ? nil : argumentsName
        case .type(let name): name
        }
    }

    /// The name of the method that runs the command.
    var methodName: String { Naming.member(name) }
}
