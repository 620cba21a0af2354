extension SwiftEmitter {
    /// The protocol that a daemon implements, the dispatcher on top, and the list of commands.
    func commands() -> String {
        var writer = SwiftWriter()
        emitHandler(to: &writer)
        emitDispatcher(to: &writer)
        emitCommandList(to: &writer)
        return writer.text
    }

    private func emitHandler(to writer: inout SwiftWriter) {
        writer.line()
        writer.doc("What runs the commands of the schema: one method for each.")
        writer.block("public protocol QMPCommandHandler: Sendable") { writer in
            for (index, command) in schema.commands.enumerated() {
                if index > 0 { writer.line() }
                writer.doc("`\(command.name)`: " + documentation(command))
                let parameters = command.argumentsType.map { ["_ arguments: \($0)"] } ?? []
                writer.function(
                    "func \(command.methodName)", parameters, signatureTail(command, "throws(QMPError)"), nil)
            }
        }
    }

    private func emitDispatcher(to writer: inout SwiftWriter) {
        writer.line()
        writer.doc("Runs commands by name: decodes their arguments, calls the handler, and encodes what it returns.")
        writer.block("public struct QMPDispatcher: QMPCommandSet") { writer in
            writer.doc("What runs the commands.")
            writer.line("public let handler: any QMPCommandHandler")
            writer.line()
            writer.doc("A dispatcher on top of a handler.")
            writer.block("public init(_ handler: any QMPCommandHandler)") { $0.line("self.handler = handler") }
            writer.line()
            writer.doc("What is known about a command, nil where there is none of this name.")
            writer.block("public func command(named name: String) -> QMPCommandInfo?") {
                $0.line("QMPCommands.all.first { $0.name == name }")
            }
            writer.line()
            writer.doc("Runs a command and returns its value as JSON; see `QMPCommandSet`.")
            writer.function(
                "public func execute", ["_ name: String", "_ arguments: JSONObject"],
                " async throws(QMPError) -> JSON"
            ) { writer in
                writer.choose("name") { writer in
                    for command in schema.commands { emitCase(command, to: &writer) }
                    writer.line("default: throw .commandNotFound(name)")
                }
            }
        }
    }

    private func emitCase(_ command: CommandDefinition, to writer: inout SwiftWriter) {
        writer.line("case \"\(command.name)\":")
        let type = command.argumentsType
        let assignment = type == nil ? "_" : "let decoded"
        writer.line("    \(assignment) = try \(type ?? "QMPNoArguments")(decoding: arguments)")
        let call = "try await handler.\(command.methodName)(\(type == nil ? "" : "decoded"))"
        writer.line(command.returns == nil ? "    \(call)" : "    return \(call).encode()")
        if command.returns == nil { writer.line("    return .object(JSONObject())") }
    }

    private func emitCommandList(to writer: inout SwiftWriter) {
        writer.line()
        writer.doc("The commands of the schema.")
        writer.block("public enum QMPCommands") { writer in
            writer.doc("All commands in the order of `query-commands`, the last of the schema first.")
            writer.line("public static let all: [QMPCommandInfo] = [")
            for command in schema.commands.reversed() {
                var properties = "\"\(command.name)\""
                if command.allowsOutOfBand { properties += ", allowsOutOfBand: true" }
                if command.allowsPreconfig { properties += ", allowsPreconfig: true" }
                if !command.hasSuccessResponse { properties += ", hasSuccessResponse: false" }
                writer.line("    QMPCommandInfo(\(properties)),")
            }
            writer.line("]")
        }
    }

    /// The typed calls of a client.
    func calls() -> String {
        var writer = SwiftWriter()
        writer.line()
        writer.block("extension QMPCaller") { writer in
            for (index, command) in schema.commands.enumerated() {
                if index > 0 { writer.line() }
                emitCall(command, to: &writer)
            }
        }
        return writer.text
    }

    private func emitCall(_ command: CommandDefinition, to writer: inout SwiftWriter) {
        writer.doc("`\(command.name)`: " + documentation(command))
        let type = command.argumentsType
        let members = command.isBoxed ? [] : schema.members(of: command.data)
        let parameters = command.isBoxed ? ["_ arguments: \(type ?? "")"] : members.map(\.parameter)
        writer.function("public func \(command.methodName)", parameters, signatureTail(command, "throws")) { writer in
            if let type, !command.isBoxed {
                let values = members.map { "\($0.swiftName): \($0.swiftName)" }
                writer.function("let arguments = \(type)", values, "", nil)
            }
            let call = "try await execute(\"\(command.name)\", \(type == nil ? "nil" : "arguments.encodeMembers()"))"
            if let returns = command.returns {
                writer.line("let result = \(call)")
                writer.line("return try \(returns.swiftName)(decoding: QAPIValue(result))")
            } else {
                writer.line("_ = \(call)")
            }
        }
    }

    private func signatureTail(_ command: CommandDefinition, _ effect: String) -> String {
        " async \(effect)" + (command.returns.map { " -> \($0.swiftName)" } ?? "")
    }

    private func documentation(_ command: CommandDefinition) -> String {
        let returns = command.returnsDoc.isEmpty ? "" : "\n\nReturns \(command.returnsDoc)"
        let errors = command.errors.isEmpty ? "" : "\n\nErrors: " + command.errors.joined(separator: " ")
        return command.doc + returns + errors + featureNotes(command.features)
    }
}
