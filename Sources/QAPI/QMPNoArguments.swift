import JSON

/// The arguments of a command that takes none.
public struct QMPNoArguments: QAPIStruct {
    /// No arguments.
    public init() {}

    /// Takes no members.
    public init(members: inout QAPIMembers) throws(QMPError) {}

    /// Appends nothing.
    public func encode(into object: inout JSONObject) {}
}
