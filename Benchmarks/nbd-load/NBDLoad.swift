import ArgumentParser

/// The program: a client that measures storage servers.
///
/// One thread and one io_uring drive all connections: on a small machine the client takes less of the processor than
/// fio does (which waits in poll(2) and moves one message at a time), so that the server is what bounds the figures.
@main
struct NBDLoad: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "nbd-load", abstract: "Measures NBD servers on Unix sockets.",
        subcommands: [RunCommand.self, SocketTransferCommand.self], defaultSubcommand: RunCommand.self)
}

/// What the program ends with when it cannot go on; printed after the program's name.
struct LoadFailure: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}
