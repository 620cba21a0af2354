import BlockGraph
import IOLoop

/// The throttle groups of a daemon, by name.
@GraphActor
public final class ThrottleGroupRegistry {
    private var groups: [String: ThrottleGroup] = [:]

    /// No groups yet.
    public nonisolated init() {}

    /// The group of a name. Error: "Throttle group 'x' does not exist".
    public func group(named name: String) throws(BlockError) -> ThrottleGroup {
        guard let group = groups[name] else { throw BlockError("Throttle group '\(name)' does not exist") }
        return group
    }

    /// Adds a group, whose name the caller knows to be free.
    public func add(_ group: ThrottleGroup) { groups[group.name] = group }

    /// Takes a group away. Error: nodes use it.
    public func remove(_ group: ThrottleGroup) throws(BlockError) {
        guard !group.isInUse else {
            throw BlockError("Cannot delete throttle group '\(group.name)' with active references")
        }
        groups[group.name] = nil
    }
}
