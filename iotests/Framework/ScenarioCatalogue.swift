import Glibc

/// The scenarios there are: those compiled in, and those in a directory.
public struct ScenarioCatalogue: Sendable {
    /// The directory with the golden files, and with scenarios that are files.
    public let directory: String
    /// All scenarios, in the order of their names.
    public let scenarios: [any Scenario]

    /// Adds the scenarios of a directory to those given: `NAME.qmp` is a transcript, an executable file `NAME` a program.
    public init(_ compiledIn: [any Scenario], directory: String) throws(ScenarioFailure) {
        self.directory = directory
        var found = compiledIn
        for name in try FileText.names(in: directory) {
            let path = "\(directory)/\(name)"
            if name.hasSuffix(".qmp") {
                found.append(TranscriptScenario(name: String(name.dropLast(4)), text: try FileText.read(path)))
            } else if !name.hasSuffix(".out"), Self.isProgram(path) {
                let program = try FileText.absolute(path)
                found.append(ExecutableScenario(name: name, path: program, text: try FileText.read(path)))
            }
        }
        scenarios = found.sorted { $0.name < $1.name }
        for (first, second) in zip(scenarios, scenarios.dropFirst()) where first.name == second.name {
            throw ScenarioFailure("two scenarios are called '\(first.name)'")
        }
    }

    /// The golden file of a scenario.
    func goldenPath(of scenario: any Scenario) -> String { "\(directory)/\(scenario.name).out" }

    /// The scenarios with these names and in one of these groups; without names or groups, all.
    ///
    /// Errors: there is no scenario of a name.
    public func select(names: [String], groups: [String]) throws(ScenarioFailure) -> [any Scenario] {
        for name in names where !scenarios.contains(where: { $0.name == name }) {
            throw ScenarioFailure("there is no scenario '\(name)'")
        }
        return scenarios.filter { scenario in
            (names.isEmpty || names.contains(scenario.name))
                && (groups.isEmpty || groups.contains { scenario.groups.contains($0) })
        }
    }

    private static func isProgram(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFREG && access(path, X_OK) == 0
    }
}
