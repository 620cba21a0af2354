import BlockGraph
import IOLoop
import QAPI

/// The objects made with `object-add`, by their identifiers.
@GraphActor
final class ObjectRegistry {
    /// The types of objects, in alphabetical order.
    static let types: [any UserObject.Type] = [IOThread.self, ThrottleGroupObject.self]

    /// The objects in the order in which they were made.
    private(set) var objects: [(id: String, object: any UserObject)] = []

    nonisolated init() {}

    /// The object of an identifier.
    func object(_ id: String) -> (any UserObject)? { objects.first { $0.id == id }?.object }

    /// The object of an identifier if it is of a type.
    func object<Object: UserObject>(_ id: String, as type: Object.Type) -> Object? { object(id) as? Object }

    /// Checks an identifier for a new object. Errors: it is malformed or taken.
    func check(id: String) throws(QMPError) {
        guard Identifier.isWellFormed(id) else { throw Identifier.malformed }
        guard object(id) == nil else {
            throw QMPError("attempt to add duplicate property '\(id)' to object (type 'container')")
        }
    }

    /// Adds an object whose identifier was checked.
    func insert(_ object: any UserObject, id: String) { objects.append((id, object)) }

    /// Takes an object away. Errors: there is none, or it is in use.
    func remove(_ id: String) throws(QMPError) {
        guard let object = object(id) else { throw QMPError("object '\(id)' not found") }
        try object.prepareRemoval(id: id)
        objects.removeAll { $0.id == id }
        object.didRemove()
    }

    /// Takes all objects away; nobody uses them any more.
    func removeAll() {
        for (_, object) in objects { object.didRemove() }
        objects = []
    }
}

/// The identifiers of objects and other things that users name.
enum Identifier {
    /// What is wrong with one that is not well-formed.
    static let malformed = QMPError(
        .genericError, "Parameter 'id' expects an identifier",
        hint: "Identifiers consist of letters, digits, '-', '.', '_', starting with a letter.")

    /// Whether a name is what all identifiers are: see `BlockGraph`.
    static func isWellFormed(_ name: String) -> Bool { BlockGraph.isWellFormed(name) }
}
