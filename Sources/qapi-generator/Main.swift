import ArgumentParser
import QAPIGenerator

@main
struct GeneratorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "qapi-generator", abstract: "Makes Swift sources and the manual from QMP schema files.",
        subcommands: [SwiftCommand.self, DocsCommand.self])
}

/// Writes the Swift sources.
struct SwiftCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "swift", abstract: "Write the Swift sources.")

    @Option(help: "The folder for the sources.")
    var output: String

    @Argument(help: "The schema's folder.")
    var folder: String

    func run() throws {
        let schema = try SchemaFolder(path: folder).read()
        for (name, text) in SwiftEmitter(schema).files() {
            try TextFile(path: "\(output)/\(name)").write(text)
        }
    }
}

/// Writes or checks the manual.
struct DocsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "docs", abstract: "Write the manual, or check that it is up to date.")

    @Flag(help: "Write nothing; fail where the file differs.")
    var check = false

    @Option(help: "The file.")
    var output = "docs/qmp-reference.md"

    @Argument(help: "The schema's folder.")
    var folder = "qmp-schema"

    func run() throws {
        let text = Manual(try SchemaFolder(path: folder).read()).text
        let file = TextFile(path: output)
        if !check {
            try file.write(text)
        } else if try file.read() != text {
            throw ValidationError("\(output) is out of date: run `swift run qapi-generator docs`")
        }
    }
}
