import BlockGraph
import JSON
import QAPI
import QMPSchema

extension BlockdevOptions {
    /// The options with some of them changed, as `reopen` of `qemu-io` names them: dotted keys, and values as text.
    ///
    /// Error: there is no such option, or it does not have such values.
    public func changing(_ changes: [(name: String, value: String)]) throws(BlockError) -> BlockdevOptions {
        var flat = Self.flattened(encode(), under: "")
        for change in changes {
            flat.removeAll { $0.key == change.name || $0.key.hasPrefix(change.name + ".") }
            flat.append((change.name, .string(change.value)))
        }
        let tree = try OptionTree.nested(JSONObject(flat.map { ($0.key, $0.value) }))
        do throws(QMPError) {
            return try BlockdevOptions(decoding: QAPIValue(OptionTree.texts(.object(tree)), mode: .keyval))
        } catch {
            for change in changes where error.description == "Parameter '\(change.name)' is unexpected" {
                throw BlockError("Cannot change the option '\(change.name)'")
            }
            throw BlockError(error.description)
        }
    }

    /// The scalars of a value by their dotted keys.
    private static func flattened(_ value: JSON, under prefix: String) -> [(key: String, value: JSON)] {
        func key(_ name: String) -> String { prefix.isEmpty ? name : "\(prefix).\(name)" }
        return switch value {
        case .array(let elements):
            elements.indices.flatMap { flattened(elements[$0], under: key(String($0))) }
        case .object(let object): object.members.flatMap { flattened($0.value, under: key($0.name)) }
        default: [(prefix, value)]
        }
    }
}
