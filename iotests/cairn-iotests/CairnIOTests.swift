import ArgumentParser
import Glibc
import IOLoop
import IOTestScenarios
import IOTests
import Synchronization

/// The program: runs scenarios against a server and compares what they log with golden files.
@main
struct CairnIOTests: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cairn-iotests",
        abstract: "Runs block layer scenarios against a QMP server and compares their output with golden files.",
        discussion: """
            A server whose name begins with "qemu-system" is started as an emulator, any other whose name begins with "qemu" as \
            QEMU's storage daemon. The exit status is 0 when nothing failed.
            """)

    @Argument(help: "The scenarios to run; all when there is none.")
    var names: [String] = []

    @Option(help: "The server under test.")
    var server = Self.neighbour("cairn-storage-daemon")

    @Option(name: .customLong("img"), help: "The program for images: cairn-img or qemu-img.")
    var imageTool = Self.neighbour("cairn-img")

    @Option(help: "The directory of golden files, and of scenarios that are files.")
    var directory = "iotests/scenarios"

    @Option(help: "Only scenarios of this group; may be repeated.")
    var group: [String] = []

    @Option(name: .shortAndLong, help: "How many scenarios run at a time.")
    var jobs = 2

    @Flag(help: "Lists the scenarios instead of running them.")
    var list = false

    @Flag(help: "Writes the golden files. The run fails, so that nobody records by accident.")
    var update = false

    @Flag(help: "Prints the results in the Test Anything Protocol.")
    var tap = false

    @Option(help: "Writes the results as JUnit's XML to this file.")
    var junit: String?

    @Flag(help: "Keeps the directories of failed scenarios.")
    var keep = false

    func validate() throws {
        guard jobs >= 1 else { throw ValidationError("--jobs must be 1 or more") }
    }

    func run() throws {
        let catalogue = try ScenarioCatalogue(allScenarios, directory: directory)
        let selected = try catalogue.select(names: names, groups: group)
        if list {
            for scenario in selected {
                print("\(scenario.name)\t\(scenario.groups.joined(separator: ","))\t\(scenario.summary)")
            }
            return
        }
        var settings = ScenarioRunner.Settings(
            server: ServerProgram(path: Self.absolute(server)), imageTool: Self.absolute(imageTool))
        settings.jobs = jobs
        settings.updates = update
        settings.keepsDirectories = keep
        let runner = ScenarioRunner(catalogue, settings)
        let (tap, junit) = (tap, junit)
        GraphActor.spawn {
            let results = await runner.run(selected) { if !tap { print(ResultReport.line($0)) } }
            Self.finish(results, tap: tap, junit: junit)
        }
        IOLoop.main.run()
    }

    /// Prints what is left to print, and ends the process.
    private static func finish(_ results: [ScenarioResult], tap: Bool, junit: String?) -> Never {
        let failed = results.count { !$0.isGood }
        if tap {
            print(ResultReport.tap(results), terminator: "")
        } else {
            print("\(results.count - failed) passed or not run, \(failed) failed")
        }
        if let junit {
            do {
                try ResultReport.writeJUnit(results, to: junit)
            } catch {
                print("\(error)")
                Glibc.exit(2)
            }
        }
        fflush(nil)
        Glibc.exit(failed == 0 ? 0 : 1)
    }

    /// The path of a program from the root: scenarios run in directories of their own. A name without "/" is looked up in PATH.
    private static func absolute(_ path: String) -> String {
        guard path.contains("/"), !path.hasPrefix("/"), let directory = getcwd(nil, 0) else { return path }
        defer { free(directory) }
        return "\(String(cString: directory))/\(path)"
    }

    /// A program in the directory of this one.
    private static func neighbour(_ name: String) -> String {
        guard let own = CommandLine.arguments.first, let slash = own.lastIndex(of: "/") else { return name }
        return own[...slash] + name
    }
}
