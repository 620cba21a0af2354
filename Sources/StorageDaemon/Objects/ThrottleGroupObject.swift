import BlockDrivers
import BlockGraph
import IOLoop
import JSON
import QAPI
import QMPSchema

/// A `throttle-group` object: limits that several nodes share.
@GraphActor
final class ThrottleGroupObject: UserObject {
    static let typeName = "throttle-group"
    static let parentTypeName = "object"
    static let properties: [(name: String, type: String)] = [
        "x-bps-write-max-length", "x-iops-total-max-length", "x-iops-size", "limits", "x-bps-total",
        "x-iops-read-max-length", "x-bps-write", "x-iops-write-max-length", "x-bps-read-max", "x-iops-read-max",
        "x-bps-total-max", "x-bps-read-max-length", "x-iops-read", "x-bps-read", "x-bps-write-max", "x-iops-total-max",
        "x-iops-total", "x-iops-write", "x-bps-total-max-length", "x-iops-write-max",
    ].map { (name: $0, type: $0 == "limits" ? "ThrottleLimits" : "int") }

    /// The group.
    let group: ThrottleGroup

    /// Makes the group. Errors: the limits do not go together, or one is out of range.
    init(id: String, _ options: ThrottleGroupProperties) throws(QMPError) {
        do {
            var configuration = ThrottleConfiguration()
            for (name, value) in options.encodeMembers().members {
                if case .integer(let number) = value { _ = try configuration.setProperty(name, to: number) }
            }
            for (name, value) in (options.limits?.encodeMembers() ?? [:]).members {
                if case .integer(let number) = value { _ = try configuration.set(name, to: number) }
            }
            group = try ThrottleGroup(name: id, configuration)
        } catch {
            throw QMPError(error)
        }
    }

    func value(of property: String) throws(QMPError) -> JSON {
        let configuration = group.configuration
        if property.hasPrefix("x-") { return .integer(configuration[String(property.dropFirst(2))] ?? 0) }
        return .object(JSONObject(ThrottleConfiguration.names.map { ($0, .integer(configuration[$0] ?? 0)) }))
    }

    func setValue(_ value: JSON, of property: String) throws(QMPError) {
        guard property == "limits" else { throw QMPError("Property cannot be set after initialization") }
        // As a member of the properties, so that errors name "limits" and what is in it.
        let properties = try ThrottleGroupProperties(decoding: QAPIValue(.object(["limits": value])))
        let members = (properties.limits?.encodeMembers() ?? [:]).members.compactMap {
            name, value -> (name: String, value: Int64)? in
            if case .integer(let number) = value { (name, number) } else { nil }
        }
        do {
            try group.update(members)
        } catch {
            throw QMPError(error)
        }
    }

    func prepareRemoval(id: String) throws(QMPError) {
        if group.isInUse { throw QMPError("Cannot delete throttle group '\(id)' with active references") }
    }

    func didRemove() {}
}
