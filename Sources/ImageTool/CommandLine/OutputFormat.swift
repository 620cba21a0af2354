/// How a command prints its results: the values of `--output`.
enum OutputFormat: String, Hashable, Sendable {
    /// For people.
    case human
    /// For programs.
    case json

    /// The format of an option's value. Failure: there is no such format.
    init(option text: String) throws(ToolFailure) {
        guard let format = OutputFormat(rawValue: text) else {
            throw .usage("--output expects 'human' or 'json', not '\(text)'")
        }
        self = format
    }

    /// `--output FORMAT`.
    static let option = CommandOption.value("output")
}
