/// Where the text of commands goes. The closures are called on whatever loop a command runs, never two at a time for one
/// command; with asynchronous requests under way those may print between the commands.
public struct IOCommandOutput: Sendable {
    /// Takes results: whole lines, each with its newline.
    public let print: @Sendable (String) -> Void
    /// Takes the message of a failure in the control plane, one line without a newline: in a monitor it is the reply, in a
    /// program it goes to the standard error output behind the program's name.
    public let report: @Sendable (String) -> Void
    /// Takes what is wrong with how a command is called: whole lines, each with its newline. In a program it goes to the
    /// standard error output as it is.
    public let complain: @Sendable (String) -> Void

    /// An output of closures. Without `complain`, complaints are printed.
    public init(
        print: @escaping @Sendable (String) -> Void, report: @escaping @Sendable (String) -> Void,
        complain: (@Sendable (String) -> Void)? = nil
    ) {
        self.print = print
        self.report = report
        self.complain = complain ?? print
    }
}

/// What became of a command.
public enum IOCommandStatus: Hashable, Sendable {
    /// It was done; an asynchronous request was started.
    case success
    /// It failed, and has said so.
    case failure
    /// The user asks for the end of the program.
    case quit
}
