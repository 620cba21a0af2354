import Glibc
import IOLoop

/// Runs scenarios, several at a time, each in a directory of its own.
public struct ScenarioRunner: Sendable {
    /// What the run works with.
    public struct Settings: Sendable {
        /// The server under test.
        public var server: ServerProgram
        /// The program for images.
        public var imageTool: String
        /// How many scenarios run at a time, 1 or more.
        public var jobs = 1
        /// Whether golden files are written instead of compared.
        public var updates = false
        /// Whether the directories of failed scenarios stay.
        public var keepsDirectories = false

        /// The settings with the programs under test.
        public init(server: ServerProgram, imageTool: String) {
            self.server = server
            self.imageTool = imageTool
        }
    }

    private let catalogue: ScenarioCatalogue
    private let settings: Settings

    /// A runner for scenarios of a catalogue.
    public init(_ catalogue: ScenarioCatalogue, _ settings: Settings) {
        self.catalogue = catalogue
        self.settings = settings
    }

    /// Runs the scenarios on the caller's I/O loop, and reports each when it has ended; all results, in the order given.
    public func run(
        _ scenarios: [any Scenario], report: @escaping @Sendable (ScenarioResult) -> Void
    ) async -> [ScenarioResult] {
        let loop = IOLoop.required
        let permits = AsyncSemaphore(settings.jobs)
        var tasks: [Task<ScenarioResult, Never>] = []
        for scenario in scenarios {
            tasks.append(
                Task(executorPreference: loop) {
                    await permits.wait()
                    defer { permits.signal() }
                    let result = await run(scenario)
                    report(result)
                    return result
                })
        }
        var results: [ScenarioResult] = []
        for task in tasks { results.append(await task.value) }
        return results
    }

    private func run(_ scenario: any Scenario) async -> ScenarioResult {
        let start = MonotonicTime.now
        let outcome = await outcome(of: scenario)
        return ScenarioResult(
            name: scenario.name, summary: scenario.summary, outcome: outcome,
            duration: start.duration(to: MonotonicTime.now))
    }

    private func outcome(of scenario: any Scenario) async -> ScenarioResult.Outcome {
        if let reason = scenario.unsupported[settings.server.kind] { return .notRun(reason) }
        let directory: ScenarioDirectory
        do {
            directory = try ScenarioDirectory()
        } catch {
            return .failed(error.description)
        }
        let context = ScenarioContext(
            server: settings.server, imageTool: settings.imageTool, directory: directory.path)
        var problem: String?
        do {
            try await scenario.run(in: context)
        } catch {
            problem = "\(error)"
        }
        await context.end()
        let outcome = judge(scenario, context.output, problem)
        if case .failed = outcome, settings.keepsDirectories {
            print("kept: \(directory.path)")
        } else {
            directory.remove()
        }
        return outcome
    }

    /// Compares the log with the golden file, or writes that.
    private func judge(_ scenario: any Scenario, _ output: String, _ problem: String?) -> ScenarioResult.Outcome {
        let path = catalogue.goldenPath(of: scenario)
        do throws(ScenarioFailure) {
            if settings.updates, problem == nil {
                try FileText.write(output, to: path)
                return .updated
            }
            let difference = TextDifference.unified(expected: try FileText.read(path), actual: output)
            if let problem { return .failed([problem, difference].filter { !$0.isEmpty }.joined(separator: "\n")) }
            return difference.isEmpty ? .passed : .failed(difference)
        } catch {
            return .failed([problem, error.description].compactMap(\.self).joined(separator: "\n"))
        }
    }
}
