import IOLoop

/// A command of the program, with what its command line says.
@GraphActor
protocol ImageCommand: Sendable {
    /// The word that the command is called by.
    nonisolated static var name: String { get }
    /// What it does, for the list of commands.
    nonisolated static var summary: String { get }
    /// What `--help` prints after the command's name and "Usage:"; see `HelpText`.
    nonisolated static var help: String { get }
    /// Its options but `--help`, in the order in which messages list them.
    nonisolated static var options: [CommandOption] { get }

    /// The words after the command's name, rearranged where getopt_long(3) would misunderstand them.
    nonisolated static func arranged(_ words: [String]) -> [String]

    /// Reads the command line. Failure: it is wrong. `scanner.operands` is complete once `next` has returned nil.
    init(scanning scanner: OptionScanner, in session: ImageSession) throws(ToolFailure)

    /// Carries the command out, and returns the exit status. What it opens in the session is closed afterwards.
    func run(in session: ImageSession) async throws(ToolFailure) -> Int32
}

extension ImageCommand {
    nonisolated static func arranged(_ words: [String]) -> [String] { words }
}

/// The commands, in alphabetical order.
var imageCommands: [any ImageCommand.Type] {
    [
        BenchCommand.self,
        BitmapCommand.self,
        CheckCommand.self,
        CommitCommand.self,
        CompareCommand.self,
        ConvertCommand.self,
        CreateCommand.self,
        DDCommand.self,
        InfoCommand.self,
        MapCommand.self,
        MeasureCommand.self,
        RebaseCommand.self,
        ResizeCommand.self,
        SnapshotCommand.self,
    ]
}
