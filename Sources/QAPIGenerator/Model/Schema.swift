/// A whole schema: what all its files define, in order.
public struct Schema: Sendable {
    /// The files in the order of the list.
    public internal(set) var files: [SchemaFile] = []
    /// Types by name.
    var types: [String: Definition] = [:]
    /// Names of definitions whose members, or whose own name, need not follow the rules for names.
    var nameExceptions: Set<String> = []

    /// The definitions of all files in order.
    var definitions: [Definition] { files.flatMap(\.definitions) }

    /// The commands in order.
    var commands: [CommandDefinition] {
        definitions.compactMap { if case .command(let command) = $0.kind { command } else { nil } }
    }

    /// The events in order.
    var events: [EventDefinition] {
        definitions.compactMap { if case .event(let event) = $0.kind { event } else { nil } }
    }
}

/// One file of a schema.
public struct SchemaFile: Sendable {
    /// The file's name without folder.
    public let name: String
    /// The title of its chapter in the manual.
    var title: String
    /// The introduction of its chapter.
    var doc = ""
    /// What it defines, in order.
    var definitions: [Definition] = []
}

/// Something that a schema defines.
struct Definition: Sendable {
    let name: String
    let doc: String
    let since: String
    let features: [Feature]
    let place: SchemaPlace
    let kind: Kind

    enum Kind: Sendable {
        case `struct`(StructDefinition)
        case `enum`([EnumValue])
        case union(UnionDefinition)
        case alternate([AlternateBranch])
        case command(CommandDefinition)
        case event(EventDefinition)
    }

    /// The word for the kind, as in the schema.
    var keyword: String {
        switch kind {
        case .struct: "struct"
        case .enum: "enum"
        case .union: "union"
        case .alternate: "alternate"
        case .command: "command"
        case .event: "event"
        }
    }
}

/// A property of a definition or member that clients may ask for: `unstable`, `deprecated`, or one of its own.
struct Feature: Sendable, Hashable {
    let name: String
    let doc: String
}

/// A member of a struct, of a union's base, or of arguments.
struct Member: Sendable {
    let name: String
    let isOptional: Bool
    let type: TypeReference
    let doc: String
    let defaultValue: String
    let since: String
    let features: [Feature]
}

/// The structure of a struct.
struct StructDefinition: Sendable {
    let base: String?
    let members: [Member]
}

/// A value of an enumeration.
struct EnumValue: Sendable {
    let name: String
    let doc: String
    let since: String
    let features: [Feature]
}

/// The structure of a union: members that it always has, and those that come with the value of one of them.
struct UnionDefinition: Sendable {
    let base: Data
    let discriminator: String
    let variants: [Variant]

    struct Variant: Sendable {
        let value: String
        let type: String
    }
}

/// One way that an alternate can look.
struct AlternateBranch: Sendable {
    let name: String
    let type: TypeReference
    let doc: String
}

/// Members given on the spot or by the name of a type.
enum Data: Sendable {
    case members([Member])
    case type(String)
}

/// A command.
struct CommandDefinition: Sendable {
    let name: String
    let data: Data
    let returns: TypeReference?
    let returnsDoc: String
    let isBoxed: Bool
    let allowsOutOfBand: Bool
    let allowsPreconfig: Bool
    let hasSuccessResponse: Bool
    let errors: [String]
    let doc: String
    let features: [Feature]
}

/// An event.
struct EventDefinition: Sendable {
    let name: String
    let data: Data
    let doc: String
    let features: [Feature]
}
