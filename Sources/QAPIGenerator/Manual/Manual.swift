/// The reference manual of a schema in Markdown.
public struct Manual {
    private let schema: Schema

    /// The manual of a schema that was read without an error.
    public init(_ schema: Schema) {
        self.schema = schema
    }

    /// The whole manual: a chapter for each file of the schema.
    public var text: String {
        var text = """
            # QMP reference

            What Cairn's daemon understands over QMP. This page is made from `qmp-schema/` by `qapi-generator docs`;
            change it there. Members marked *optional* may be left out.


            """
        for file in schema.files {
            text += "- [\(file.title)](#\(anchor(file.title)))\n"
        }
        for file in schema.files {
            text += "\n## \(file.title)\n"
            if !file.doc.isEmpty { text += "\n\(paragraphs(file.doc))" }
            for definition in file.definitions { text += section(definition) }
        }
        return text
    }

    private func section(_ definition: Definition) -> String {
        var text = "\n### \(definition.name)\n\n*\(definition.keyword.prefix(1).uppercased())"
        text += "\(definition.keyword.dropFirst())*"
        if !definition.since.isEmpty { text += ", since \(definition.since)" }
        text += "\n\n" + paragraphs(definition.doc)
        switch definition.kind {
        case .struct(let found):
            if let base = found.base { text += "\nHas all members of \(link(base)), and these:\n" }
            text += table(found.members)
        case .enum(let values):
            text += "\n"
            for value in values { text += item("`\(value.name)`", value.doc, value.features, value.since) }
        case .union(let union): text += describe(union)
        case .alternate(let branches):
            text += "\nOne of:\n\n"
            for branch in branches { text += item(spelling(branch.type), branch.doc, [], "") }
        case .command(let command): text += describe(command)
        case .event(let event): text += describe(event.data)
        }
        for feature in definition.features { text += "\n" + paragraphs(note(feature)) }
        return text
    }

    private func describe(_ union: UnionDefinition) -> String {
        var text = describe(union.base)
        text += "\nFurther members depend on `\(union.discriminator)`:\n\n"
        for (value, type) in schema.variants(of: union) {
            text += "- `\(value.name)`: " + (type.map { "the members of \(link($0))" } ?? "none") + "\n"
        }
        return text
    }

    private func describe(_ command: CommandDefinition) -> String {
        var text = describe(command.data)
        if let returns = command.returns {
            let doc = command.returnsDoc.isEmpty ? "." : ": \(command.returnsDoc)"
            text += "\n" + paragraphs("Returns \(spelling(returns))\(doc)")
        }
        if !command.errors.isEmpty {
            text += "\nErrors:\n\n"
            for error in command.errors { text += "- " + wrap(error, width: 118).joined(separator: "\n  ") + "\n" }
        }
        return text
    }

    private func describe(_ data: Data) -> String {
        switch data {
        case .members(let members): table(members)
        case .type(let name): "\nThe members of \(link(name)).\n"
        }
    }

    private func table(_ members: [Member]) -> String {
        if members.isEmpty { return "" }
        var text = "\n"
        for member in members {
            let optional = member.isOptional ? ", *optional*" : ""
            let value = member.defaultValue.isEmpty ? "" : ", default \(member.defaultValue)"
            text += item(
                "`\(member.name)` (\(spelling(member.type))\(optional)\(value))", member.doc, member.features,
                member.since)
        }
        return text
    }

    private func item(_ head: String, _ doc: String, _ features: [Feature], _ since: String) -> String {
        let sinceNote = since.isEmpty ? "" : " Since \(since)."
        let notes = features.map { " " + note($0) }.joined()
        let lines = wrap("\(head): \(doc)\(sinceNote)\(notes)", width: 118)
        return "- " + lines.joined(separator: "\n  ") + "\n"
    }

    private func note(_ feature: Feature) -> String {
        "Feature `\(feature.name)`" + (feature.doc.isEmpty ? "." : ": \(feature.doc)")
    }

    /// The text with lines of at most 120 characters.
    private func paragraphs(_ text: String) -> String {
        text.split(separator: "\n", omittingEmptySubsequences: false)
            .map { wrap(String($0), width: 120).joined(separator: "\n") + "\n" }.joined()
    }

    private func spelling(_ type: TypeReference) -> String {
        switch type {
        case .builtin(let builtin): builtin.rawValue
        case .named(let name): link(name)
        case .array(let element): "array of \(spelling(element))"
        case .map(let value): "object with names to \(spelling(value))"
        }
    }

    private func link(_ name: String) -> String { "[\(name)](#\(anchor(name)))" }

    /// The anchor that Markdown viewers make for a heading.
    private func anchor(_ heading: String) -> String {
        String(
            heading.lowercased().compactMap { character -> Character? in
                if character == " " { return "-" }
                return character.isLetter || character.isNumber || "-_".contains(character) ? character : nil
            })
    }
}
