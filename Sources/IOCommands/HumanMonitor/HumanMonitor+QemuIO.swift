import BlockGraph
import IOLoop
import Synchronization

extension HumanMonitor {
    /// `qemu-io [-d] NODE "COMMAND"`.
    var qemuIO: HumanMonitorCommand {
        HumanMonitorCommand(
            names: ["qemu-io"], synopsis: #"[-d] [device] "[command]""#,
            summary:
                "run a qemu-io command on a block device\n\t\t\t-d: [device] is a device ID rather than a drive ID or node name",
            parameters: [.flag("d"), .device, .string]
        ) { [weak self] arguments in
            guard let self, arguments.values.count == 2 else { return "" }
            let name = arguments.values[0]
            if arguments.flags.contains("d") {
                guard let node = deviceNode(name) else { return "Error: Device '\(name)' not found\n" }
                return await runIO(arguments.values[1], on: node)
            }
            guard let node = graph.node(named: name) else {
                return "Error: Cannot find device='' nor node-name='\(name)'\n"
            }
            return await runIO(arguments.values[1], on: node)
        }
    }

    /// Runs a command on a node as a user of its own, which has only the permissions that the command needs.
    ///
    /// Asynchronous requests have come back on return, unless breakpoints are set and some node below has such: then they
    /// may wait at one that only a later command takes away, and the user stays with them.
    private func runIO(_ command: String, on node: BlockNode) async -> String {
        let backend: BlockBackend
        do {
            backend = try graph.attach("an unnamed block device", to: node, permissions: PermissionPair())
        } catch {
            return "\(error.description)\n"
        }
        let reports = ReportCollector()
        let output = IOCommandOutput(print: print, report: { reports.append($0) })
        var interpreter = IOCommandInterpreter(
            backend: backend, host: .monitor, group: outstanding, hooks: hooks, output: output)
        interpreter.breakpoints = breakpoints
        await interpreter.run(command)
        if interpreter.outstanding.count == 0 {
            await graph.detach(backend)
        } else if !breakpoints.isEmpty, node.hasDebugEventSinkBelow {
            detachLater(backend, interpreter.outstanding)
        } else {
            await letThrough(interpreter.outstanding, of: node)
            await graph.detach(backend)
        }
        return reports.text
    }

    /// Waits for asynchronous requests, and has queues on their way let them through as they do when a node is drained.
    private func letThrough(_ requests: OutstandingRequests, of node: BlockNode) async {
        await Task.yield()  // Requests that have just been made get on their way.
        do {
            try await graph.drained([node]) {}
        } catch {
            // The empty section throws nothing.
        }
        await requests.waitUntilEmpty()
    }

    private func detachLater(_ backend: BlockBackend, _ requests: OutstandingRequests) {
        leavingUsers.begin()
        GraphActor.spawn { [graph, leavingUsers] in
            await requests.waitUntilEmpty()
            await graph.detach(backend)
            leavingUsers.end()
        }
    }
}

extension BlockNode {
    /// Whether this node or any below it acts on debug events.
    @GraphActor fileprivate var hasDebugEventSinkBelow: Bool {
        var visited: Set<BlockNode> = []
        var pending = [self]
        while let node = pending.popLast() {
            guard visited.insert(node).inserted else { continue }
            if node.driver.debugEventSink != nil { return true }
            pending += node.children.map(\.node)
        }
        return false
    }
}

/// The messages of a command, which are its reply.
private final class ReportCollector: Sendable {
    private let lines = Mutex("")

    /// The lines so far.
    var text: String { lines.withLock { $0 } }

    func append(_ line: String) { lines.withLock { $0 += line + "\n" } }
}
