import JSON

/// The members of an object being decoded, which remembers those that were asked for.
public struct QAPIMembers {
    private let object: [(name: String, value: JSON)]
    private var visited: [Bool]
    private let value: QAPIValue

    /// The members of `value`; throws where it is no object.
    public init(of value: QAPIValue) throws(QMPError) {
        guard case .object(let object) = value.json else { throw value.invalidType("object") }
        self.object = object.members
        visited = Array(repeating: false, count: object.count)
        self.value = value
    }

    /// The value of a member that must be there.
    ///
    /// Throws "Parameter 'x' is missing", or what decoding the value throws.
    public mutating func required<T: QAPIType>(_ name: String) throws(QMPError) -> T {
        try T(decoding: existing(name))
    }

    /// The value of a member, nil where there is none; throws what decoding the value throws.
    public mutating func optional<T: QAPIType>(_ name: String) throws(QMPError) -> T? {
        guard let member = take(name) else { return nil }
        return try T(decoding: member)
    }

    /// The value in bytes of a member that must be there; a command line may give it a unit such as `K`.
    public mutating func requiredSize(_ name: String) throws(QMPError) -> UInt64 {
        try existing(name).size()
    }

    /// The value in bytes of a member, nil where there is none; a command line may give it a unit such as `K`.
    public mutating func optionalSize(_ name: String) throws(QMPError) -> UInt64? {
        guard let member = take(name) else { return nil }
        return try member.size()
    }

    /// Throws "Parameter 'x' is unexpected" where a member was not asked for.
    public func finish() throws(QMPError) {
        guard let index = UnexpectedOrder.first(of: object.map(\.name), visited: visited) else { return }
        throw QMPError("Parameter '\(member(index).fullName)' is unexpected")
    }

    private mutating func existing(_ name: String) throws(QMPError) -> QAPIValue {
        guard let member = take(name) else {
            let missing = QAPIPath.member(value.path, name)
            throw QMPError("Parameter '\(missing.fullName(value.mode))' is missing")
        }
        return member
    }

    private mutating func take(_ name: String) -> QAPIValue? {
        guard let index = object.firstIndex(where: { $0.name == name }) else { return nil }
        visited[index] = true
        return member(index)
    }

    private func member(_ index: Int) -> QAPIValue {
        QAPIValue(object[index].value, mode: value.mode, path: .member(value.path, object[index].name))
    }
}

extension JSONObject {
    /// Sets a member; for generated code.
    public mutating func encode(_ name: String, _ value: some QAPIType) {
        self[name] = value.encode()
    }

    /// Sets a member, or leaves it out where there is no value; for generated code.
    public mutating func encode(_ name: String, _ value: (some QAPIType)?) {
        if let value { self[name] = value.encode() }
    }
}
