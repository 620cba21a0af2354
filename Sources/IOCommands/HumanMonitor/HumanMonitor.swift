import BlockGraph
import IOLoop

/// The monitor for people, as `human-monitor-command` runs its lines: `qemu-io`, `help`, and what the daemon adds.
@GraphActor
public final class HumanMonitor {
    let graph: BlockGraph
    let hooks: IOCommandHooks
    let print: @Sendable (String) -> Void
    /// The asynchronous requests of all nodes.
    nonisolated let outstanding = OutstandingRequests()
    /// Users of nodes that go away when their last request has come back.
    nonisolated let leavingUsers = OutstandingRequests()
    /// The breakpoints that have been set on all nodes.
    nonisolated let breakpoints = BreakpointLedger()
    private let added: [HumanMonitorCommand]
    /// The node of a device, as `qemu-io -d` names one; none by default.
    public var deviceNode: @GraphActor (String) -> BlockNode? = { _ in nil }

    /// A monitor of the nodes of a graph.
    ///
    /// - Parameters:
    ///   - hooks: what commands of `qemu-io` need beyond the graph.
    ///   - commands: commands beside `qemu-io` and `help`.
    ///   - print: takes the results of `qemu-io`, which go to the server's standard output: whole lines, from the main loop.
    public nonisolated init(
        graph: BlockGraph, hooks: IOCommandHooks = .init(), commands: [HumanMonitorCommand] = [],
        print: @escaping @Sendable (String) -> Void
    ) {
        self.graph = graph
        self.hooks = hooks
        self.print = print
        added = commands
    }

    /// Runs a line; the text of the reply, whose lines end in CR LF. Errors are text, too.
    public func run(_ line: String) async -> String {
        withCarriageReturns(await reply(to: line))
    }

    /// Returns when all asynchronous requests have come back and no node is used on their behalf any more.
    public func waitUntilIdle() async {
        await leavingUsers.waitUntilEmpty()
    }

    private func reply(to line: String) async -> String {
        var scanner = HumanArgumentScanner(Array(line.utf8)[...])
        scanner.skipBlanks()
        let name = scanner.rest.prefix { $0 != UInt8(ascii: "/") && !HumanArgumentScanner.isBlank($0) }
        guard !scanner.rest.isEmpty else { return "" }
        let word = String(decoding: name, as: UTF8.self)
        guard let command = command(named: word) else { return Self.unknown(word) }
        do {
            let typed = String(decoding: Array(line.utf8)[..<name.endIndex], as: UTF8.self)
            return await command.body(try command.parse(scanner.rest[name.endIndex...], as: typed))
        } catch {
            if let line = error.print { print(line) }
            return error.reply
        }
    }

    private var commands: [HumanMonitorCommand] {
        ([help, qemuIO] + added).sorted { $0.names[0] < $1.names[0] }
    }

    private func command(named name: String) -> HumanMonitorCommand? {
        commands.first { $0.names.contains(name) }
    }

    private static func unknown(_ name: String) -> String { "unknown command: '\(name)'\n" }

    private var help: HumanMonitorCommand {
        HumanMonitorCommand(
            names: ["help", "?"], synopsis: "[cmd]", summary: "show the help", parameters: [.optionalTopic]
        ) { [weak self] arguments in
            guard let self else { return "" }
            guard let name = arguments.values.first else { return commands.map(\.help).joined() }
            return command(named: name)?.help ?? Self.unknown(name)
        }
    }
}

/// The text with CR LF for each LF.
private func withCarriageReturns(_ text: String) -> String {
    var bytes: [UInt8] = []
    for byte in text.utf8 {
        if byte == 0x0A { bytes.append(0x0D) }
        bytes.append(byte)
    }
    return String(decoding: bytes, as: UTF8.self)
}
