import IOLoop
import JSON
import QAPI
import QMPSchema

/// Objects: `object-add`, `object-del`, `qom-*`.
extension StorageDaemon {
    func objectAdd(_ options: ObjectOptions) async throws(QMPError) {
        try objects.check(id: options.id)
        switch options.qomType {
        case .iothread(let properties):
            objects.insert(try IOThread(id: options.id, properties), id: options.id)
        case .throttleGroup(let properties):
            objects.insert(try ThrottleGroupObject(id: options.id, properties), id: options.id)
        }
    }

    func objectDel(_ arguments: ObjectDelArguments) async throws(QMPError) { try objects.remove(arguments.id) }

    func qomList(_ arguments: QomListArguments) async throws(QMPError) -> [ObjectPropertyInfo] {
        let type = ObjectPropertyInfo(name: "type", type: "string")
        switch try resolve(arguments.path) {
        case .root: return [type, ObjectPropertyInfo(name: "objects", type: "child<container>")]
        case .container:
            return [type]
                + objects.objects.map { (id, object) in
                    ObjectPropertyInfo(name: id, type: "child<\(Swift.type(of: object).typeName)>")
                }
        case .object(let object): return propertyInfos(of: Swift.type(of: object))
        }
    }

    func qomGet(_ arguments: QomGetArguments) async throws(QMPError) -> JSON {
        let place = try resolve(arguments.path)
        if arguments.property == "type" { return .string(typeName(of: place)) }
        return try property(arguments.property, of: place).value(of: arguments.property)
    }

    func qomSet(_ arguments: QomSetArguments) async throws(QMPError) {
        let place = try resolve(arguments.path)
        if arguments.property == "type" { throw QMPError("Property '\(typeName(of: place)).type' is not writable") }
        try property(arguments.property, of: place).setValue(arguments.value, of: arguments.property)
    }

    func qomListTypes(_ arguments: QomListTypesArguments) async throws(QMPError) -> [ObjectTypeInfo] {
        let all = ObjectRegistry.types.filter { type in
            guard let wanted = arguments.implements else { return true }
            return [type.typeName, type.parentTypeName, "object", "user-creatable"].contains(wanted)
        }
        return all.map { ObjectTypeInfo(name: $0.typeName, parent: $0.parentTypeName) }
    }

    func qomListProperties(
        _ arguments: QomListPropertiesArguments
    ) async throws(QMPError) -> [ObjectPropertyInfo] {
        guard let type = ObjectRegistry.types.first(where: { $0.typeName == arguments.typename }) else {
            throw QMPError(.deviceNotFound, "Class '\(arguments.typename)' not found")
        }
        return propertyInfos(of: type)
    }

    /// What a path leads to.
    private enum Place {
        case root
        case container
        case object(any UserObject)
    }

    /// Follows a path: "/", "/objects", "/objects/ID", or without a slash at the start the end of one.
    private func resolve(_ path: String) throws(QMPError) -> Place {
        let parts = path.split(separator: "/").map(String.init)
        if path.hasPrefix("/") {
            if parts.isEmpty { return .root }
            if parts == ["objects"] { return .container }
            if parts.count == 2, parts[0] == "objects", let object = objects.object(parts[1]) { return .object(object) }
        } else {
            if parts.isEmpty { throw QMPError("Path '\(path)' is ambiguous") }
            if parts == ["objects"] { return .container }
            if let last = parts.last, parts.count == 1 || parts == ["objects", last],
                let object = objects.object(last)
            {
                return .object(object)
            }
        }
        throw QMPError(.deviceNotFound, "Device '\(path)' not found")
    }

    private func typeName(of place: Place) -> String {
        switch place {
        case .root, .container: "container"
        case .object(let object): type(of: object).typeName
        }
    }

    private func property(_ name: String, of place: Place) throws(QMPError) -> any UserObject {
        guard case .object(let object) = place, type(of: object).properties.contains(where: { $0.name == name }) else {
            throw QMPError("Property '\(typeName(of: place)).\(name)' not found")
        }
        return object
    }

    private func propertyInfos(of type: any UserObject.Type) -> [ObjectPropertyInfo] {
        [ObjectPropertyInfo(name: "type", type: "string")]
            + type.properties.map { ObjectPropertyInfo(name: $0.name, type: $0.type) }
    }
}
