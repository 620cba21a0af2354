import JSON

/// A type that QMP can carry: it decodes from JSON with QMP's own error texts and encodes to JSON.
public protocol QAPIType: Sendable, Hashable {
    /// Decodes a value.
    ///
    /// Throws `GenericError` that names the parameter when the value does not have this type.
    init(decoding value: QAPIValue) throws(QMPError)

    /// The value on the wire, its members in the order of the schema.
    func encode() -> JSON
}

/// An enumeration of the schema; raw values are the names on the wire.
public protocol QAPIEnum: QAPIType, RawRepresentable, CaseIterable where RawValue == String {}

extension QAPIEnum {
    /// Decodes the name of a case; throws where the value is no string or names no case.
    public init(decoding value: QAPIValue) throws(QMPError) {
        let name = try String(decoding: value)
        guard let found = Self(rawValue: name) else { throw value.doesNotAccept(name) }
        self = found
    }

    /// The name of the case.
    public func encode() -> JSON { .string(rawValue) }
}

/// A struct or union of the schema.
public protocol QAPIStruct: QAPIType {
    /// Decodes from the members of an object, taking those that are this type's own and leaving others unvisited.
    init(members: inout QAPIMembers) throws(QMPError)

    /// Appends the members to an object; optional members without a value are left out.
    func encode(into object: inout JSONObject)
}

extension QAPIStruct {
    /// Decodes an object that has this type's members and no others.
    public init(decoding value: QAPIValue) throws(QMPError) {
        var members = try QAPIMembers(of: value)
        try self.init(members: &members)
        try members.finish()
    }

    /// Decodes the arguments of a command, that is, an object that is nobody's member.
    public init(decoding object: JSONObject, mode: QAPIMode = .strict) throws(QMPError) {
        try self.init(decoding: QAPIValue(.object(object), mode: mode))
    }

    /// The members as an object, in the order of the schema.
    public func encodeMembers() -> JSONObject {
        var object = JSONObject()
        encode(into: &object)
        return object
    }

    /// The members as an object, in the order of the schema.
    public func encode() -> JSON { .object(encodeMembers()) }
}
