import JSON
import QAPI

extension QMPIntrospection {
    /// What `query-qmp-schema` answers; throws `GenericError` where the text that was generated is wrong.
    public static func schemaInfo() throws(QMPError) -> [SchemaInfo] {
        let json: JSON
        do {
            json = try JSON(parsing: text)
        } catch {
            throw QMPError("\(error)")
        }
        return try [SchemaInfo](decoding: QAPIValue(json))
    }
}
