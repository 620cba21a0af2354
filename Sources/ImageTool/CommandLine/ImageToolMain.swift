import CLinuxShims
import Glibc
import IOLoop

/// cairn-img as a program.
public enum ImageToolMain {
    /// Runs the process from the command line to its end; does not return. Called on the main thread before there are others.
    public static func run() -> Never {
        GraphActor.spawn {
            let status = await ImageToolMain.status(of: CommandLine.arguments)
            fflush(nil)
            exit(status)
        }
        IOLoop.main.run()
        exit(0)
    }

    /// Carries a command line out; the exit status.
    @GraphActor
    private static func status(of arguments: [String]) async -> Int32 {
        let program = programName
        let scanner = OptionScanner(
            title: program, words: arguments.dropFirst(), options: globalOptions, stopsAtOperand: true)
        do throws(ToolFailure) {
            while let option = try scanner.next() {
                switch option.key {
                case "help": return finish(printing: HelpText.program)
                case "version": return finish(printing: HelpText.version)
                default: break  // There are no trace points.
                }
            }
            guard let name = scanner.operands.first else { throw ToolFailure.usage("Not enough arguments") }
            guard let command = imageCommands.first(where: { $0.name == name }) else {
                throw ToolFailure.usage("Command not found: \(name)")
            }
            return await run(command, words: scanner.operands.dropFirst())
        } catch {
            return report(error, helpCommand: program)
        }
    }

    @GraphActor
    private static func run(_ type: any ImageCommand.Type, words: some Sequence<String>) async -> Int32 {
        let title = "\(programName) \(type.name)"
        let session = ImageSession()
        let scanner = OptionScanner(title: title, words: type.arranged(Array(words)), options: [.help] + type.options)
        let status: Int32
        do throws(ToolFailure) {
            let command = try type.init(scanning: scanner, in: session)
            status = try await command.run(in: session)
        } catch {
            if error == .help { return finish(printing: HelpText.of(type)) }
            status = report(error, helpCommand: title)
        }
        await session.close()
        return status
    }

    private static func finish(printing text: String) -> Int32 {
        print(text, terminator: "")
        return 0
    }

    private static func report(_ failure: ToolFailure, helpCommand: String) -> Int32 {
        if let message = failure.message { printError(message) }
        if let hint = failure.hint { cairn_print_error(hint) }
        if failure.suggestsHelp { cairn_print_error("Try '\(helpCommand) --help' for more information") }
        return failure.status
    }

    private static let globalOptions: [CommandOption] = [.help, .flag("version", "V"), .value("trace", "T")]
}

/// The program's name in messages: the last part of the path that it was called by.
var programName: String {
    guard let name = CommandLine.arguments.first?.split(separator: "/").last else { return "cairn-img" }
    return String(name)
}

/// Prints a message on standard error, after the program's name.
func printError(_ message: String) { cairn_print_error("\(programName): \(message)") }

/// Prints a warning on standard error.
func printWarning(_ message: String) { printError("warning: \(message)") }
