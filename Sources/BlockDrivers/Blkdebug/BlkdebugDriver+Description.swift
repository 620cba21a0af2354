import BlockGraph
import IOLoop
import JSON

extension BlkdebugDriver: DescribedByOptions {
    /// The options with the rules spread out, "inject-error.0.event" and so on, as QEMU shows them.
    @GraphActor func describingOptions(of node: BlockNode) -> JSONObject {
        var options: JSONObject = ["driver": "blkdebug", "image": .object(image.node.describingOptions)]
        if let name = configuration.configFile { options["config"] = .string(name) }
        let sizes: [(String, Int64?)] = [
            ("align", configuration.align), ("max-transfer", configuration.maxTransfer),
            ("opt-write-zero", configuration.optWriteZero), ("max-write-zero", configuration.maxWriteZero),
            ("opt-discard", configuration.optDiscard), ("max-discard", configuration.maxDiscard),
        ]
        for case (let name, let size?) in sizes { options[name] = .integer(size) }
        for (number, rule) in configuration.injectError.enumerated() {
            for (name, value) in rule.members { options["inject-error.\(number).\(name)"] = value }
        }
        for (number, rule) in configuration.setState.enumerated() {
            for (name, value) in rule.members { options["set-state.\(number).\(name)"] = value }
        }
        return options
    }
}

extension BlkdebugInjectError {
    fileprivate var members: [(String, JSON)] {
        let numbers = [("state", state), ("errno", errno), ("delay-ns", delayNanoseconds), ("sector", sector)]
        let flags = [("once", once), ("immediately", immediately)]
        var members: [(String, JSON)] = []
        if let ioType { members.append(("iotype", .string(ioType.rawValue))) }
        for case (let name, let value?) in numbers { members.append((name, .integer(value))) }
        for case (let name, let value?) in flags { members.append((name, .bool(value))) }
        // Last, as it shares a bucket of QEMU's hash table with "errno" and is printed before it.
        members.append(("event", .string(event.rawValue)))
        return members
    }
}

extension BlkdebugSetState {
    fileprivate var members: [(String, JSON)] {
        var members: [(String, JSON)] = [("event", .string(event.rawValue))]
        if let state { members.append(("state", .integer(state))) }
        members.append(("new_state", .integer(newState)))
        return members
    }
}
