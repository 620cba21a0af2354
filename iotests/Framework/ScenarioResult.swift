/// How a scenario went.
public struct ScenarioResult: Sendable {
    /// The outcomes there are.
    public enum Outcome: Sendable, Hashable {
        /// The log is the golden one.
        case passed
        /// It is not, or the scenario could not go on: the reason, in lines.
        case failed(String)
        /// The scenario cannot run against this server: why.
        case notRun(String)
        /// The golden file was written, which is no success: somebody has to look at it.
        case updated
    }

    /// The scenario's name.
    public let name: String
    /// What it shows.
    public let summary: String
    /// How it went.
    public let outcome: Outcome
    /// How long it took.
    public let duration: Duration

    /// Whether nothing is wrong.
    public var isGood: Bool {
        switch outcome {
        case .passed, .notRun: true
        case .failed, .updated: false
        }
    }

    /// The duration in seconds, with two decimals.
    var seconds: String {
        let hundredths =
            Int(duration.components.seconds) * 100 + Int(duration.components.attoseconds / 10_000_000_000_000_000)
        let fraction = hundredths % 100
        return "\(hundredths / 100).\(fraction < 10 ? "0" : "")\(fraction)"
    }
}
