/// The members of a JSON object, in the order in which they were first set.
///
/// Small objects are the rule, so members of those are found by a linear search; from 16 members on there is an index.
/// Names are the same when their UTF-8 bytes are.
public struct JSONObject: Sendable {
    /// The members in insertion order; names are unique.
    public private(set) var members: [(name: String, value: JSON)]

    /// Where the members are, by name; empty below `indexedCount` members.
    private var positions: [Name: Int] = [:]

    /// The number of members from which on there is an index.
    private static let indexedCount = 16

    /// An empty object.
    public init() { members = [] }

    /// An object with the given members; a name that repeats keeps its first place and its last value.
    public init(_ elements: [(String, JSON)]) {
        members = []
        for (name, value) in elements { self[name] = value }
    }

    /// The number of members.
    public var count: Int { members.count }

    /// Whether there is no member.
    public var isEmpty: Bool { members.isEmpty }

    /// The value of a member, nil where there is none. Setting nil removes the member, in linear time.
    public subscript(name: String) -> JSON? {
        get { position(of: name).map { members[$0].value } }
        set {
            switch (position(of: name), newValue) {
            case (let position?, let value?): members[position].value = value
            case (let position?, nil): remove(at: position)
            case (nil, let value?): append(uniqueName: name, value: value)
            case (nil, nil): break
            }
        }
    }

    /// Makes room for a number of members.
    mutating func reserveCapacity(_ count: Int) {
        members.reserveCapacity(count)
        if count >= Self.indexedCount { positions.reserveCapacity(count) }
    }

    /// Adds a member whose name the object does not have.
    mutating func append(uniqueName name: String, value: JSON) {
        members.append((name, value))
        if members.count == Self.indexedCount {
            makeIndex()
        } else if members.count > Self.indexedCount {
            positions[Name(text: name)] = members.count - 1
        }
    }

    private mutating func remove(at position: Int) {
        members.remove(at: position)
        positions.removeAll()
        if members.count >= Self.indexedCount { makeIndex() }
    }

    private mutating func makeIndex() {
        for (position, member) in members.enumerated() { positions[Name(text: member.name)] = position }
    }

    private func position(of name: String) -> Int? {
        if members.count < Self.indexedCount {
            return members.firstIndex { Name(text: $0.name) == Name(text: name) }
        }
        return positions[Name(text: name)]
    }
}

/// A name that is compared by its bytes, where `String` would take equivalent characters for the same.
private struct Name: Hashable {
    let text: String

    static func == (a: Name, b: Name) -> Bool {
        a.text == b.text && a.text.utf8.elementsEqual(b.text.utf8)
    }

    func hash(into hasher: inout Hasher) {
        var text = text
        text.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
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
            member.combine(Name(text: name))
            member.combine(value)
            sum &+= member.finalize()
        }
        hasher.combine(sum)
    }
}

extension JSONObject: ExpressibleByDictionaryLiteral {
    /// An object with the members in the order given; a name that repeats keeps its last value.
    public init(dictionaryLiteral elements: (String, JSON)...) { self.init(elements) }
}
