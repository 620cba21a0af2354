import BlockGraph
import IOLoop

/// Carries out the commands of `qemu-io` on a node: reads, writes, discards, queries and breakpoints, one line at a time,
/// with the output that `qemu-io` gives.
///
/// `run` is called on an I/O loop's thread. Asynchronous requests go on after their command on the same loop; the backend
/// must stay attached until `outstanding` is empty.
public struct IOCommandInterpreter: Sendable {
    /// Where a user gives commands.
    public enum Host: Hashable, Sendable {
        /// In a monitor, to nodes that others have opened.
        case monitor
        /// In a program that opens and closes images; `open`, `close` and `quit` are its own affair, but in the help.
        case program
    }

    /// The user of the node through which requests go; nil in a program that has no image open.
    public let backend: BlockBackend?
    /// Where the commands are given.
    public let host: Host
    /// Where text goes.
    public let output: IOCommandOutput
    /// The asynchronous requests of this interpreter.
    public let outstanding: OutstandingRequests
    /// What `aio_flush` waits for.
    let flushed: OutstandingRequests
    let hooks: IOCommandHooks
    /// The breakpoints that commands have set.
    var breakpoints = BreakpointLedger()

    /// An interpreter over a backend.
    ///
    /// - Parameters:
    ///   - backend: the user of the node; it takes the permissions that commands need when they need them. Nil where no
    ///     image is open.
    ///   - group: requests that `aio_flush` waits for too, and to which this interpreter's are added.
    public init(
        backend: BlockBackend?, host: Host = .monitor, group: OutstandingRequests? = nil,
        hooks: IOCommandHooks = .init(),
        output: IOCommandOutput
    ) {
        self.backend = backend
        self.host = host
        self.output = output
        self.hooks = hooks
        outstanding = OutstandingRequests(in: group)
        flushed = group ?? outstanding
    }

    /// Runs a line: the words of a command, separated by blanks. An empty line does nothing.
    @discardableResult
    public func run(_ line: String) async -> IOCommandStatus {
        let words = line.utf8.split(separator: UInt8(ascii: " ")).map { String(Substring($0)) }
        guard let name = words.first else { return .success }
        guard let command = command(named: name) else {
            output.complain("command \"\(name)\" not found\n")
            return .failure
        }
        guard backend != nil || !command.needsImage else {
            output.complain("no file open, try 'help open'\n")
            return .failure
        }
        let arguments = Array(words.dropFirst())
        if let complaint = command.complaint(ofArguments: arguments.count, as: name) {
            output.complain(complaint)
            return .failure
        }
        do {
            try await take(command.permissions)
        } catch {
            output.report(error.description)
            return .failure
        }
        return await command.body(
            IOInvocation(interpreter: self, command: command, name: name, arguments: arguments))
    }

    /// The command of a name or alias, if it may be given here.
    func command(named name: String) -> IOCommand? {
        commands.first { $0.name == name || $0.alias == name }
    }

    /// The commands that may be given here, in the order of their names.
    var commands: some Sequence<IOCommand> {
        let host = host
        return IOCommand.all.lazy.filter { $0.audience == .all || host == .program }
    }

    /// Gives the backend permissions that it lacks, for as long as it lives. Error: a conflict, or a read-only node.
    @GraphActor
    private func take(_ permissions: BlockPermissions) throws(BlockError) {
        guard let backend else { return }
        var pair = backend.permissions
        guard !pair.used.isSuperset(of: permissions) else { return }
        pair.used.formUnion(permissions)
        try backend.graph.setPermissions(pair, of: backend)
    }
}
