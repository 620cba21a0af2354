import BlockGraph
import IOLoop
import QAPI

/// Why a command ends before its time: what is printed on standard error, and the exit status.
struct ToolFailure: Error, Hashable {
    /// What follows the program's name on a line; nil where everything has been said.
    var message: String?
    /// Lines that follow the message as they are.
    var hint: String?
    /// Whether a line says how to get help for the command.
    var suggestsHelp = false
    /// The exit status.
    var status: Int32 = 1

    /// A failure with the status 1.
    init(_ message: String, hint: String? = nil, status: Int32 = 1) {
        self.message = message
        self.hint = hint
        self.status = status
    }

    /// Not a failure: help is asked for.
    static let help = ToolFailure("help", status: 0)

    /// A failure of which everything has been said already.
    static func silent(status: Int32 = 1) -> ToolFailure {
        var failure = ToolFailure("", status: status)
        failure.message = nil
        return failure
    }

    /// A command line that is wrong: the message, and how to get help.
    static func usage(_ message: String?) -> ToolFailure {
        var failure = ToolFailure("")
        failure.message = message
        failure.suggestsHelp = true
        return failure
    }

    /// An error of the block layer, with what was attempted before it.
    init(_ error: BlockError, doing prefix: String? = nil, status: Int32 = 1) {
        self.init(
            prefix.map { "\($0): \(error.description)" } ?? error.description, hint: error.hint, status: status)
    }

    /// An error of options, with what was attempted before it.
    init(_ error: QMPError, doing prefix: String? = nil, status: Int32 = 1) {
        self.init(
            prefix.map { "\($0): \(error.description)" } ?? error.description, hint: error.hint, status: status)
    }
}

/// Runs an operation of the block layer: its error becomes the command's failure, with `prefix` and a colon before it.
@GraphActor
func failing<Result>(
    _ prefix: String? = nil, status: Int32 = 1, _ body: @GraphActor () async throws(BlockError) -> Result
) async throws(ToolFailure) -> Result {
    do {
        return try await body()
    } catch {
        throw ToolFailure(error, doing: prefix, status: status)
    }
}
