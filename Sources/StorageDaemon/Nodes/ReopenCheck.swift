import BlockGraph
import IOLoop
import JSON
import QAPI
import QMPSchema

/// Checks that a node's new options change nothing that must stay as it was when the node was made.
@GraphActor
struct ReopenCheck {
    let node: BlockNode
    let new: BlockdevOptions

    /// Options of all drivers that may change.
    private static let changeable: Set<String> = [
        "node-name", "read-only", "auto-read-only", "cache", "discard", "detect-zeroes",
    ]

    /// The options of a driver that may change.
    private static func changeable(of driver: BlockdevDriver) -> Set<String> {
        switch driver {
        case .raw: ["offset", "size"]
        case .throttle: ["throttle-group"]
        case .file, .hostDevice: ["drop-cache"]
        case .blkdebug, .copyBeforeWrite, .snapshotAccess, .nullAio, .nullCo: []
        }
    }

    /// Errors: an option is left out that was given, or is given with another value; the driver cannot be reopened at all.
    func run() throws(BlockError) {
        guard let old = node.sourceOptions as? BlockdevOptions else { return }
        try checkSupport(old)
        let children = Set((old.driver.children + new.driver.children).map(\.name))
        let fixed = { (name: String) in
            name != "driver" && !children.contains(name) && !Self.changeable.contains(name)
                && !Self.changeable(of: old.driver.tag).contains(name)
        }
        let (before, after) = (old.encodeMembers(), new.encodeMembers())
        for (member, value) in before.members
        where (fixed(member) || member == "throttle-group") && after[member] == nil {
            // The members of a list are options of their own.
            let name = if case .array = value { "\(member).0" } else { member }
            throw BlockError("Option '\(name)' cannot be reset to its default value")
        }
        for (name, value) in after.members where fixed(name) && before[name] != value {
            throw BlockError("Cannot change the option '\(name)'")
        }
        guard new.driver.tag == old.driver.tag else { throw BlockError("Cannot change the option 'driver'") }
        try checkChildren(old)
    }

    private func checkSupport(_ old: BlockdevOptions) throws(BlockError) {
        switch old.driver {
        case .copyBeforeWrite, .snapshotAccess:
            throw BlockError(
                "Block format '\(node.driver.driverName)' used by node '\(node.name)' does not support reopening files")
        case .blkdebug, .file, .hostDevice, .nullCo, .nullAio, .raw, .throttle: return
        }
    }

    /// A child that was named stays a child that is named; one that was defined keeps its name.
    private func checkChildren(_ old: BlockdevOptions) throws(BlockError) {
        for (name, reference) in new.driver.children {
            guard let edge = node.child(named: name) else { continue }
            guard case .definition(let definition) = reference else {
                // Its rules know the alignment of the image.
                if case .blkdebug = old.driver, case .reference(let childName) = reference, childName != edge.node.name
                {
                    throw BlockError("Cannot change the option '\(name)'")
                }
                continue
            }
            if case .reference? = old.driver.children.first(where: { $0.name == name })?.reference {
                throw BlockError("Cannot change the option '\(name).driver'")
            }
            if let childName = definition.nodeName, childName != edge.node.name {
                throw BlockError("Cannot change the option '\(name).node-name'")
            }
        }
    }
}
