/// One test: it talks to a server and logs what happens; the log is compared with a golden file.
public protocol Scenario: Sendable {
    /// The name, which is that of the golden file too.
    var name: String { get }
    /// What `--group` selects by.
    var groups: [String] { get }
    /// What it shows, in a line.
    var summary: String { get }
    /// The kinds of servers that it cannot run against, each with the reason.
    var unsupported: [ServerProgram.Kind: String] { get }
    /// Runs the scenario. Throwing makes it fail.
    func run(in context: ScenarioContext) async throws
}

extension Scenario {
    public var groups: [String] { [] }
    public var unsupported: [ServerProgram.Kind: String] { [:] }
}

/// Why a scenario cannot go on.
public struct ScenarioFailure: Error, CustomStringConvertible {
    /// The reason.
    public let description: String

    /// A failure for a reason.
    public init(_ description: String) { self.description = description }
}
