import JSON
import QAPI
import QMPProtocol

/// A scenario that is a list of QMP commands; the golden file holds them with their replies.
///
/// Each line is a command in JSON (`{"execute": ...}`) or as qmp-shell takes it (`block-resize node=n size=65536`), a comment
/// that begins with "#", or one of these:
/// - `@group NAME...`, `@summary TEXT`, `@unsupported KIND REASON`: what is to be known of the scenario;
/// - `@server ARGUMENTS`: starts the server, again where one runs; without it the first command starts one;
/// - `@image ARGUMENTS`: runs the program for images; its output and status are logged;
/// - `@event NAME [JSON DATA]`: waits for an event with at least these data, and logs it with all that came before it.
/// In all of them `$DIR` is the scenario's directory.
struct TranscriptScenario: Scenario {
    let name: String
    private(set) var groups: [String] = []
    private(set) var summary = ""
    private(set) var unsupported: [ServerProgram.Kind: String] = [:]
    private let lines: [Substring]

    /// The scenario that a text describes.
    init(name: String, text: String) {
        self.name = name
        lines = text.split(separator: "\n").filter { !$0.hasPrefix("#") }
        for line in lines where line.hasPrefix("@") {
            let words = line.split(separator: " ")
            switch words[0] {
            case "@group": groups += words.dropFirst().map(String.init)
            case "@summary": summary = words.dropFirst().joined(separator: " ")
            case "@unsupported":
                guard words.count > 1, let kind = ServerProgram.Kind(rawValue: String(words[1])) else { continue }
                unsupported[kind] = words.dropFirst(2).joined(separator: " ")
            default: break
            }
        }
    }

    func run(in context: ScenarioContext) async throws {
        var server: ServerInstance?
        for line in lines {
            let line = line.split(separator: "$DIR", omittingEmptySubsequences: false).joined(
                separator: context.directory)
            let words = line.split(separator: " ").map(String.init)
            switch words.first {
            case nil, "@group"?, "@summary"?, "@unsupported"?: continue
            case "@server"?:
                try await server?.quit()
                server = try await context.startServer(Array(words.dropFirst()))
            case "@image"?: try await runImageTool(words, line, context)
            case "@event"?:
                guard let server else { throw ScenarioFailure("no server yet: \(line)") }
                try await logEvents(words, line, server, context)
            default:
                let running: ServerInstance
                if let server { running = server } else { running = try await context.startServer() }
                server = running
                let (command, arguments) = try Self.command(line)
                try await running.logged(command, arguments)
            }
        }
        try await server?.quit()
    }

    private func runImageTool(_ words: [String], _ line: String, _ context: ScenarioContext) async throws {
        context.log(line)
        let (status, output) = try await context.run([context.imageTool] + words.dropFirst())
        if !output.isEmpty { context.log(output.hasSuffix("\n") ? String(output.dropLast()) : output) }
        if status != 0 { context.log("status \(status)") }
    }

    private func logEvents(
        _ words: [String], _ line: String, _ server: ServerInstance, _ context: ScenarioContext
    ) async throws {
        guard words.count > 1 else { throw ScenarioFailure("no name: \(line)") }
        var data = JSONObject()
        if words.count > 2 { data = try Self.object(words.dropFirst(2).joined(separator: " ")) }
        for event in try await server.events(upTo: words[1], data) {
            context.log(.object(OutputFilter.withoutTime(event)))
        }
    }

    // MARK: Commands

    /// The command of a line: its name and arguments.
    static func command(_ line: String) throws -> (name: String, arguments: JSONObject) {
        if line.hasPrefix("{") {
            let object = try object(line)
            guard case .string(let name)? = object["execute"] else { throw ScenarioFailure("no command: \(line)") }
            guard case .object(let arguments) = object["arguments"] ?? [:] else {
                throw ScenarioFailure("no object of arguments: \(line)")
            }
            return (name, arguments)
        }
        let words = line.split(separator: " ").map(String.init)
        var arguments = JSONObject()
        for word in words.dropFirst() {
            guard let equals = word.firstIndex(of: "=") else { throw ScenarioFailure("not key=value: \(word)") }
            let path = word[..<equals].split(separator: ".").map(String.init)
            try set(path[...], to: value(String(word[word.index(after: equals)...])), in: &arguments)
        }
        return (words.first ?? "", arguments)
    }

    /// A value as qmp-shell reads it: a number, true, false, JSON, or else a string.
    private static func value(_ text: String) throws -> JSON {
        if let number = Int64(text) { return .integer(number) }
        switch text {
        case "true", "True": return true
        case "false", "False": return false
        default:
            guard text.hasPrefix("{") || text.hasPrefix("[") else { return .string(text) }
            return try parsed(text)
        }
    }

    private static func set(_ path: ArraySlice<String>, to value: JSON, in object: inout JSONObject) throws {
        guard let name = path.first else { throw ScenarioFailure("an empty name") }
        if path.count == 1 {
            object[name] = value
            return
        }
        var inner = JSONObject()
        if case .object(let there)? = object[name] { inner = there }
        try set(path.dropFirst(), to: value, in: &inner)
        object[name] = .object(inner)
    }

    private static func object(_ text: String) throws -> JSONObject {
        guard case .object(let object) = try parsed(text) else { throw ScenarioFailure("not an object: \(text)") }
        return object
    }

    private static func parsed(_ text: String) throws -> JSON {
        do {
            return try JSON(parsing: text)
        } catch {
            throw ScenarioFailure("\(text): \(error)")
        }
    }
}
