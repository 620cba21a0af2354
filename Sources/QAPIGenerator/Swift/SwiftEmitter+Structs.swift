extension SwiftEmitter {
    /// A struct with its members, its initialisers, and its encoding.
    func emitStruct(_ name: String, _ doc: String, _ members: [Member], to writer: inout SwiftWriter) {
        writer.line()
        writer.doc(doc)
        writer.block("public struct \(name): QAPIStruct") { writer in
            for member in members { emitProperty(member, in: name, to: &writer) }
            writer.line()
            writer.doc("Sets every member.")
            writer.function("public init", members.map(\.parameter)) { writer in
                for member in members { writer.line("self.\(member.swiftName) = \(member.swiftName)") }
            }
            writer.line()
            writer.doc("Decodes the members.")
            writer.block("public init(members: inout QAPIMembers) throws(QMPError)") { writer in
                for member in members { writer.line("self.\(member.swiftName) = \(decoding(member))") }
            }
            writer.line()
            writer.doc("Appends the members.")
            writer.block("public func encode(into object: inout JSONObject)") { writer in
                for member in members { writer.line("object.encode(\"\(member.name)\", self.\(member.swiftName))") }
            }
        }
    }

    /// A stored property with its documentation.
    func emitProperty(_ member: Member, in type: String, to writer: inout SwiftWriter) {
        let wrapper = schema.isRecursive(member, in: type) ? "@Indirect " : ""
        writer.doc(documentation(member))
        writer.line("\(wrapper)public var \(member.swiftName): \(member.swiftType)")
    }

    /// The expression that decodes a member.
    func decoding(_ member: Member) -> String {
        let method =
            switch (member.type, member.isOptional) {
            case (.builtin(.size), false): "requiredSize"
            case (.builtin(.size), true): "optionalSize"
            case (_, false): "required"
            case (_, true): "optional"
            }
        return "try members.\(method)(\"\(member.name)\")"
    }

    func emitEnum(_ definition: Definition, _ values: [EnumValue], to writer: inout SwiftWriter) {
        writer.line()
        writer.doc(documentation(definition))
        writer.block("public enum \(definition.name): String, QAPIEnum") { writer in
            for value in values {
                writer.doc(value.doc + featureNotes(value.features))
                let name = Naming.member(value.name)
                writer.line("case \(name)" + (name == value.name ? "" : " = \"\(value.name)\""))
            }
        }
    }

    func emitAlternate(_ definition: Definition, _ branches: [AlternateBranch], to writer: inout SwiftWriter) {
        writer.line()
        writer.doc(documentation(definition))
        writer.block("public indirect enum \(definition.name): QAPIType") { writer in
            for branch in branches {
                writer.doc(branch.doc)
                writer.line("case \(Naming.member(branch.name))(\(branch.type.swiftName))")
            }
            writer.line()
            writer.doc("Decodes the branch that has the JSON type of the value.")
            writer.block("public init(decoding value: QAPIValue) throws(QMPError)") { writer in
                writer.choose("value.kind") { writer in
                    for branch in branches {
                        let kind = schema.jsonKind(of: branch.type) ?? ""
                        let decoded = "\(branch.type.swiftName)(decoding: value)"
                        writer.line("case .\(kind): self = .\(Naming.member(branch.name))(try \(decoded))")
                    }
                    writer.line("default: throw value.noBranch(of: \"\(definition.name)\")")
                }
            }
            writer.line()
            writer.doc("The value of the branch.")
            writer.block("public func encode() -> JSON") { writer in
                writer.choose("self") { writer in
                    for branch in branches {
                        writer.line("case .\(Naming.member(branch.name))(let value): value.encode()")
                    }
                }
            }
        }
    }
}
