import BlockDrivers
import BlockGraph
import IOLoop
import JSON
import QAPI
import QMPSchema
import Qcow2Format

/// Checks that a node's new options change nothing that must stay as it was when the node was made.
@GraphActor
struct ReopenCheck {
    let node: BlockNode
    let new: BlockdevOptions

    /// Options of all drivers that may change.
    private static let changeable: Set<String> = [
        "node-name", "read-only", "auto-read-only", "cache", "discard", "detect-zeroes",
    ]

    /// The options of a driver that may change and be left out.
    private static func resettable(of driver: BlockdevDriver) -> Set<String> {
        switch driver {
        case .qcow2:
            [
                "cache-clean-interval", "cache-size", "discard-no-unref", "l2-cache-entry-size", "l2-cache-size",
                "lazy-refcounts", "overlap-check", "pass-discard-other", "pass-discard-request",
                "pass-discard-snapshot", "refcount-cache-size",
            ]
        case .raw: ["offset", "size"]
        case .file, .hostDevice: ["drop-cache"]
        case .blkdebug, .copyBeforeWrite, .copyOnRead, .snapshotAccess, .nullAio, .nullCo, .throttle: []
        }
    }

    /// The options of a driver that may change.
    private static func changeable(of driver: BlockdevDriver) -> Set<String> {
        resettable(of: driver).union(driver == .throttle ? ["throttle-group"] : [])
    }

    /// Errors: an option is left out that was given, or is given with another value; the driver cannot be reopened at all.
    func run() throws(BlockError) {
        guard let old = node.sourceOptions as? BlockdevOptions else { return }
        try checkSupport(old)
        try checkBacking(old)
        let children = Set((old.driver.children + new.driver.children).map(\.name)).union(["backing"])
        let free = children.union(Self.changeable).union(["driver"])
        let mayBeMissing = free.union(Self.resettable(of: old.driver.tag))
        let mayDiffer = free.union(Self.changeable(of: old.driver.tag))
        let (before, after) = (old.encodeMembers(), new.encodeMembers())
        for (member, value) in before.members where !mayBeMissing.contains(member) && after[member] == nil {
            // The members of a list are options of their own.
            let name = if case .array = value { "\(member).0" } else { member }
            throw BlockError("Option '\(name)' cannot be reset to its default value")
        }
        for (name, value) in after.members where !mayDiffer.contains(name) && before[name] != value {
            throw BlockError("Cannot change the option '\(name)'")
        }
        guard new.driver.tag == old.driver.tag else { throw BlockError("Cannot change the option 'driver'") }
        try checkChildren(old)
    }

    private func checkSupport(_ old: BlockdevOptions) throws(BlockError) {
        switch old.driver {
        case .copyBeforeWrite, .copyOnRead, .snapshotAccess:
            throw BlockError(
                "Block format '\(node.driver.driverName)' used by node '\(node.name)' does not support reopening files")
        case .blkdebug, .file, .hostDevice, .nullCo, .nullAio, .qcow2, .raw, .throttle: return
        }
    }

    /// What is below an overlay is always said, so that nobody loses it by not mentioning it.
    private func checkBacking(_ old: BlockdevOptions) throws(BlockError) {
        guard case .qcow2 = old.driver, let driver = node.driver as? Qcow2Driver else { return }
        if case .qcow2(let options) = new.driver, options.backing != nil { return }
        guard driver.backing != nil || driver.image.header.backingFileName?.isEmpty == false else { return }
        throw BlockError("backing is missing for '\(node.name)'")
    }

    /// A child that was named stays a child that is named; one that was defined keeps its name.
    private func checkChildren(_ old: BlockdevOptions) throws(BlockError) {
        for (name, reference) in new.driver.children {
            guard let edge = node.child(named: name) else {
                switch reference {
                case .reference: if name == "backing" { continue }
                case .definition: throw BlockError("Cannot change the option '\(name).driver'")
                }
                throw BlockError("Cannot change the option '\(name)'")
            }
            switch reference {
            case .reference(let childName):
                // The rules of blkdebug know the alignment of the image.
                if case .blkdebug = old.driver, childName != edge.node.name {
                    throw BlockError("Cannot change the option '\(name)'")
                }
            case .definition(let definition):
                if case .reference? = old.driver.children.first(where: { $0.name == name })?.reference {
                    throw BlockError("Cannot change the option '\(name).driver'")
                }
                if let childName = definition.nodeName, childName != edge.node.name {
                    throw BlockError("Cannot change the option '\(name).node-name'")
                }
            }
        }
    }
}
