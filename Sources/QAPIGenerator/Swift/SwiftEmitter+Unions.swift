extension SwiftEmitter {
    /// A struct with the members that the union always has; the one that tells variants apart is an enumeration whose
    /// cases carry the members of each variant.
    func emitUnion(_ definition: Definition, _ union: UnionDefinition, to writer: inout SwiftWriter) {
        let members = schema.members(of: union.base)
        let payload = Naming.payload(union.discriminator)
        let name = Naming.member(union.discriminator)
        let isTag = { (member: Member) in member.name == union.discriminator }
        writer.line()
        writer.doc(documentation(definition))
        writer.block("public struct \(definition.name): QAPIStruct") { writer in
            for member in members {
                if isTag(member) {
                    writer.doc(documentation(member))
                    writer.line("public var \(name): \(payload)")
                } else {
                    emitProperty(member, in: definition.name, to: &writer)
                }
            }
            emitPayload(union, payload, to: &writer)
            writer.line()
            writer.doc("Sets every member.")
            let parameters = members.map { isTag($0) ? "\(name): \(payload)" : $0.parameter }
            writer.function("public init", parameters) { writer in
                for member in members { writer.line("self.\(member.swiftName) = \(member.swiftName)") }
            }
            writer.line()
            writer.doc("Decodes the members, then those of the variant.")
            writer.block("public init(members: inout QAPIMembers) throws(QMPError)") { writer in
                for member in members {
                    let target = isTag(member) ? "let tag: \(member.type.swiftName)" : "self.\(member.swiftName)"
                    writer.line("\(target) = \(decoding(member))")
                }
                writer.line("self.\(name) = try \(payload)(tag, members: &members)")
            }
            writer.line()
            writer.doc("Appends the members, then those of the variant.")
            writer.block("public func encode(into object: inout JSONObject)") { writer in
                for member in members {
                    let value = isTag(member) ? "self.\(name).tag" : "self.\(member.swiftName)"
                    writer.line("object.encode(\"\(member.name)\", \(value))")
                }
                writer.line("self.\(name).encode(into: &object)")
            }
        }
    }

    /// The enumeration of a union's variants.
    private func emitPayload(_ union: UnionDefinition, _ payload: String, to writer: inout SwiftWriter) {
        let variants = schema.variants(of: union)
        let tag = schema.tagType(of: union) ?? ""
        let indirect = variants.contains { $0.type != nil } ? "indirect " : ""
        writer.line()
        writer.doc("The variants, told apart by `\(union.discriminator)`.")
        writer.block("public \(indirect)enum \(payload): Sendable, Hashable") { writer in
            for (value, type) in variants {
                writer.doc(value.doc + featureNotes(value.features))
                writer.line("case \(Naming.member(value.name))" + (type.map { "(\($0))" } ?? ""))
            }
            writer.line()
            writer.doc("The value of `\(union.discriminator)` on the wire.")
            writer.block("public var tag: \(tag)") { writer in
                writer.choose("self") { writer in
                    for (value, _) in variants {
                        let name = Naming.member(value.name)
                        writer.line("case .\(name): .\(name)")
                    }
                }
            }
            writer.line()
            writer.block("init(_ tag: \(tag), members: inout QAPIMembers) throws(QMPError)") { writer in
                writer.choose("tag") { writer in
                    for (value, type) in variants {
                        let name = Naming.member(value.name)
                        let decoded = type.map { "(try \($0)(members: &members))" } ?? ""
                        writer.line("case .\(name): self = .\(name)\(decoded)")
                    }
                }
            }
            writer.line()
            writer.block("func encode(into object: inout JSONObject)") { writer in
                writer.choose("self") { writer in
                    for (value, type) in variants {
                        let name = Naming.member(value.name)
                        writer.line(
                            type == nil
                                ? "case .\(name): break"
                                : "case .\(name)(let value): value.encode(into: &object)")
                    }
                }
            }
        }
    }
}
