extension SwiftEmitter {
    /// The data of events and the enumeration of them.
    func events() -> String {
        var writer = SwiftWriter()
        for event in schema.events {
            guard case .members(let members) = event.data, !members.isEmpty else { continue }
            emitStruct(event.dataName, "The data of the event `\(event.name)`.", members, to: &writer)
        }
        writer.line()
        writer.doc("An event of the schema with its data.")
        writer.block("public enum QMPEvent: Sendable, Hashable") { writer in
            for event in schema.events {
                writer.doc("`\(event.name)`: " + event.doc + featureNotes(event.features))
                writer.line("case \(Naming.member(event.name))" + (event.dataType.map { "(\($0))" } ?? ""))
            }
            writer.line()
            writer.doc("The name on the wire.")
            writer.block("public var name: String") { writer in
                writer.choose("self") { writer in
                    for event in schema.events {
                        writer.line("case .\(Naming.member(event.name)): \"\(event.name)\"")
                    }
                }
            }
            writer.line()
            writer.doc("The data on the wire, nil where the event has none.")
            writer.block("public var data: JSONObject?") { writer in
                writer.choose("self") { writer in
                    for event in schema.events {
                        let name = Naming.member(event.name)
                        writer.line(
                            event.dataType == nil
                                ? "case .\(name): nil"
                                : "case .\(name)(let data): data.encodeMembers()")
                    }
                }
            }
            writer.line()
            writer.doc("The event that came with this name and data, nil where the schema has none of the name.")
            writer.block("public init?(name: String, data: JSONObject) throws(QMPError)") { writer in
                writer.choose("name") { writer in
                    for event in schema.events {
                        let decoded = event.dataType.map { "(try \($0)(decoding: data))" } ?? ""
                        writer.line("case \"\(event.name)\": self = .\(Naming.member(event.name))\(decoded)")
                    }
                    writer.line("default: return nil")
                }
            }
        }
        return writer.text
    }
}

extension EventDefinition {
    /// The type of the data where the schema names none.
    var dataName: String { Naming.type(name) + "Event" }

    /// The type of the data, nil where there is none.
    var dataType: String? {
        switch data {
        case .members(let members): members.isEmpty ? nil : dataName
        case .type(let name): name
        }
    }
}
