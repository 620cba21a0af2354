import BlockGraph
import IOCommands
import IOLoop
import StorageTestSupport
import Synchronization

/// Text that commands print.
final class Printed: Sendable {
    private let text = Mutex("")

    func append(_ more: String) { text.withLock { $0 += more } }

    /// What has been printed since the last call.
    func take() -> String {
        text.withLock { text in
            defer { text = "" }
            return text
        }
    }
}

/// A monitor over a node "n".
final class Harness: Sendable {
    let graph = BlockGraph()
    let node: BlockNode
    let printed = Printed()
    let monitor: HumanMonitor

    init(_ driver: any BlockDriver, options: NodeOptions = .init(), hooks: IOCommandHooks = .init()) async throws {
        node = try await Self.open(driver, "n", options, graph)
        monitor = HumanMonitor(graph: graph, hooks: hooks, print: { [printed] in printed.append($0) })
    }

    /// Opens a node in a graph.
    @GraphActor
    static func open(
        _ driver: any BlockDriver, _ name: String, _ options: NodeOptions, _ graph: BlockGraph
    ) async throws -> BlockNode {
        try await graph.open(name: name, options: options, isOwnedByMonitor: true) { _ in driver }
    }

    /// Runs a command of `qemu-io` on the node: what it printed, and the reply.
    func io(_ command: String) async -> (printed: String, reply: String) {
        let escaped = command.replacing("\\", with: #"\\"#).replacing("\"", with: #"\""#).replacing("\n", with: #"\n"#)
        return await line(#"qemu-io n "\#(escaped)""#)
    }

    /// Runs a line of the monitor: what it printed, and the reply.
    func line(_ line: String) async -> (printed: String, reply: String) {
        let reply = await monitor.run(line)
        return (printed.take(), reply)
    }

    /// What a command printed, without times; nothing is replied.
    func text(_ command: String) async -> String { withoutTimes(await io(command).printed) }
}

/// The text with "T" for the times and rates of reports.
func withoutTimes(_ text: String) -> String {
    let lines = text.utf8.split(separator: 0x0A, omittingEmptySubsequences: false).map { bytes -> String in
        let line = String(decoding: bytes, as: UTF8.self)
        if let report = line.firstRange(of: " ops; ") { return line[..<report.upperBound] + "T" }
        let fields = line.split(separator: ",")
        guard fields.count == 5, Int(fields[0]) != nil, fields[1] == "1" else { return line }
        return "\(fields[0]),1,T"
    }
    return lines.joined(separator: "\n")
}
