import JSON

/// What differs from run to run is replaced by names, so that golden files can hold the rest.
public struct OutputFilter: Sendable {
    /// Texts and what stands for them, applied in this order.
    private var replacements: [(text: String, name: String)]

    /// A filter without replacements.
    public init() { replacements = [] }

    /// The filter of a scenario: its directory becomes TEST_DIR, and the number in its files' names PID.
    init(directory: String, processNumber: String) {
        replacements = [(directory, "TEST_DIR"), ("\(processNumber)-", "PID-")]
    }

    /// Adds a text that is to be replaced by a name, behind those that are there.
    public mutating func replace(_ text: String, by name: String) { replacements.append((text, name)) }

    /// The text with all replacements.
    public func filtered(_ text: String) -> String {
        replacements.reduce(text) { text, replacement in
            text.split(separator: replacement.text, omittingEmptySubsequences: false).joined(
                separator: replacement.name)
        }
    }

    /// The message with its time replaced by names.
    public static func withoutTime(_ message: JSONObject) -> JSONObject {
        var message = message
        if message["timestamp"] != nil { message["timestamp"] = ["seconds": "SECS", "microseconds": "USECS"] }
        return message
    }

    /// The value with "_" in the names of all members replaced by "-": the two ways to write QMP's names.
    public static func withDashes(_ value: JSON) -> JSON {
        switch value {
        case .object(let object):
            .object(
                JSONObject(
                    object.members.map {
                        (
                            $0.name.split(separator: "_", omittingEmptySubsequences: false)
                                .joined(separator: "-"), withDashes($0.value)
                        )
                    }))
        case .array(let elements): .array(elements.map(withDashes))
        default: value
        }
    }
}
