import IOLoop
import JSON
import QAPI

/// An object that clients make with `object-add`.
@GraphActor
protocol UserObject: AnyObject {
    /// The type's name in QMP: "iothread".
    static var typeName: String { get }
    /// The type that it derives from.
    static var parentTypeName: String { get }
    /// The properties and their types, in the order in which they are listed.
    static var properties: [(name: String, type: String)] { get }

    /// The value of one of the properties. Error: it cannot be read now.
    func value(of property: String) throws(QMPError) -> JSON
    /// Sets one of the properties. Errors: the value has the wrong type or is out of range.
    func setValue(_ value: JSON, of property: String) throws(QMPError)
    /// The object goes away. Error: it is in use.
    func prepareRemoval(id: String) throws(QMPError)
    /// The object has gone.
    func didRemove()
}
