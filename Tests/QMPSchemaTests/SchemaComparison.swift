import JSON
import QAPI
import QMPSchema

/// Compares two answers to `query-qmp-schema` from the commands and events of the first on: names, types, whether
/// members are optional, features. What only the second has is no difference where it is a value, variant or member
/// that the first leaves out on purpose.
struct SchemaComparison {
    /// Commands that QEMU's storage daemon does not have.
    private static let own: Set<String> = ["query-dirty-bitmaps", "human-monitor-command"]
    /// Members that are left out so far.
    private static let omitted: Set<String> = ["pr-manager", "x-check-cache-dropped"]

    private let ours: [String: SchemaInfo]
    private let theirs: [String: SchemaInfo]
    private let roots: [SchemaInfo]
    private var seen: Set<String> = []
    private(set) var differences: [String] = []
    /// The number of pairs of types that were looked at.
    var typesCompared: Int { seen.count }

    init(ours: [SchemaInfo], theirs: [SchemaInfo]) {
        self.ours = Dictionary(uniqueKeysWithValues: ours.map { ($0.name, $0) })
        self.theirs = Dictionary(uniqueKeysWithValues: theirs.map { ($0.name, $0) })
        roots = ours.filter { [.command, .event].contains($0.metaType.tag) && !Self.own.contains($0.name) }
    }

    /// The entities in an answer, with or without the `return` around them.
    static func entities(_ text: [UInt8]) throws -> [SchemaInfo] {
        var json = try JSON(parsing: text)
        if case .object(let object) = json { json = object["return"] ?? json }
        return try [SchemaInfo](decoding: QAPIValue(json))
    }

    mutating func run() {
        for root in roots { compare(root.name, root.name, at: root.name) }
    }

    private mutating func compare(_ our: String, _ their: String, at place: String) {
        guard seen.insert("\(our) \(their)").inserted else { return }
        guard let our = ours[our], let their = theirs[their] else {
            differences.append("\(place): only on one side")
            return
        }
        if Set(our.features ?? []) != Set(their.features ?? []) { differences.append("\(place): features") }
        switch (our.metaType, their.metaType) {
        case (.builtin(let a), .builtin(let b)): if a != b { differences.append("\(place): \(a) and \(b)") }
        case (.enum(let a), .enum(let b)): compare(a, b, at: place)
        case (.array(let a), .array(let b)): compare(a.elementType, b.elementType, at: place + "[]")
        case (.object(let a), .object(let b)): compare(a, b, at: place)
        case (.alternate(let a), .alternate(let b)): compare(a, b, at: place)
        case (.command(let a), .command(let b)):
            if a.allowOob != b.allowOob { differences.append("\(place): allow-oob") }
            compare(a.argType, b.argType, at: place)
            compare(a.retType, b.retType, at: place + " ->")
        case (.event(let a), .event(let b)): compare(a.argType, b.argType, at: place)
        default: differences.append("\(place): \(our.metaType.tag) and \(their.metaType.tag)")
        }
    }

    /// Our values must be among theirs and in their order.
    private mutating func compare(_ a: SchemaInfoEnum, _ b: SchemaInfoEnum, at place: String) {
        let names = a.members.map(\.name)
        let shared = b.members.filter { names.contains($0.name) }
        if shared != a.members { differences.append("\(place): values \(names)") }
    }

    private mutating func compare(_ a: SchemaInfoObject, _ b: SchemaInfoObject, at place: String) {
        let expected = b.members.filter { !Self.omitted.contains($0.name) }
        if a.members.map(\.name) != expected.map(\.name) {
            differences.append("\(place): members \(a.members.map(\.name)) and \(expected.map(\.name))")
            return
        }
        for (our, their) in zip(a.members, expected) {
            let inner = "\(place).\(our.name)"
            if our.default != their.default { differences.append("\(inner): optional") }
            if our.features != their.features { differences.append("\(inner): features") }
            compare(our.type, their.type, at: inner)
        }
        if a.tag != b.tag { differences.append("\(place): tag") }
        for variant in a.variants ?? [] {
            guard let other = b.variants?.first(where: { $0.case == variant.case }) else {
                differences.append("\(place): variant \(variant.case)")
                continue
            }
            compare(variant.type, other.type, at: "\(place)(\(variant.case))")
        }
    }

    private mutating func compare(_ a: SchemaInfoAlternate, _ b: SchemaInfoAlternate, at place: String) {
        guard a.members.count == b.members.count else {
            differences.append("\(place): branches")
            return
        }
        for (our, their) in zip(a.members, b.members) { compare(our.type, their.type, at: place) }
    }
}
