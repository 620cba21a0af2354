/// The members of a JSON object, in the order in which they were first set.
///
/// Small objects are the rule, so members are found by a linear search: O(n) for look-up and change.
public struct JSONObject: Sendable {
    /// The members in insertion order; names are unique.
    public private(set) var members: [(name: String, value: JSON)]

    /// An empty object.
    public init() { members = [] }

    /// An object with the given members; a name that repeats keeps its first place and its last value.
    public init(_ elements: some Sequence<(String, JSON)>) {
        members = []
        for (name, value) in elements { self[name] = value }
    }

    /// The number of members.
    public var count: Int { members.count }

    /// Whether there is no member.
    public var isEmpty: Bool { members.isEmpty }

    /// The value of a member, nil where there is none. Setting nil removes the member.
    public subscript(name: String) -> JSON? {
        get { members.first { $0.name == name }?.value }
        set {
            let index = members.firstIndex { $0.name == name }
            switch (index, newValue) {
            case (let index?, let value?): members[index].value = value
            case (let index?, nil): members.remove(at: index)
            case (nil, let value?): members.append((name, value))
            case (nil, nil): break
            }
        }
    }
}

extension JSONObject: Hashable {
    /// Objects are equal when they have the same members, in whatever order.
    public static func == (a: JSONObject, b: JSONObject) -> Bool {
        a.count == b.count && a.members.allSatisfy { b[$0.name] == $0.value }
    }

    /// Hashes the members without regard to their order.
    public func hash(into hasher: inout Hasher) {
        var sum = 0
        for (name, value) in members {
            var member = Hasher()
            member.combine(name)
            member.combine(value)
            sum &+= member.finalize()
        }
        hasher.combine(sum)
    }
}
