import BlockGraph
import JSON
import QAPI
import QMPSchema

extension ThrottleConfiguration {
    /// The limits that the properties of a new `throttle-group` object say: those with "x-" first, and then `limits`.
    ///
    /// Errors: a value is out of range. Whether the limits go together is checked by `ThrottleGroup`.
    public init(_ properties: ThrottleGroupProperties) throws(BlockError) {
        self.init()
        var object = JSONObject()
        properties.encode(into: &object)
        for (name, value) in object.members {
            if case .integer(let value) = value { _ = try setProperty(name, to: value) }
        }
        if let limits = properties.limits { try apply(limits) }
    }

    /// Sets the limits that are given. Error: a burst is too long.
    public mutating func apply(_ limits: ThrottleLimits) throws(BlockError) {
        var object = JSONObject()
        limits.encode(into: &object)
        for (name, value) in object.members {
            if case .integer(let value) = value { _ = try set(name, to: value) }
        }
    }

    /// All limits as the property `limits` shows them.
    public var members: JSONObject {
        JSONObject(Self.names.map { ($0, .integer(self[$0] ?? 0)) })
    }
}

extension ThrottleGroup {
    /// Changes the limits that are given: the setting of the property `limits`.
    ///
    /// Errors: the limits do not go together, or a burst is too long; nothing changes then.
    public func update(_ limits: ThrottleLimits) throws(BlockError) {
        var new = configuration
        try new.apply(limits)
        try setConfiguration(new)
    }
}
