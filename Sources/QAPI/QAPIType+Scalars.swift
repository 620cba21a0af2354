import JSON

extension String: QAPIType {
    /// Decodes a string.
    public init(decoding value: QAPIValue) throws(QMPError) {
        if value.mode == .keyval {
            self = try value.text()
        } else if case .string(let string) = value.json {
            self = string
        } else {
            throw value.invalidType("string")
        }
    }

    /// A JSON string.
    public func encode() -> JSON { .string(self) }
}

extension Bool: QAPIType {
    /// Decodes a boolean; a command line spells it on, yes, true, y, or off, no, false, n.
    public init(decoding value: QAPIValue) throws(QMPError) {
        if value.mode == .keyval {
            switch try value.text() {
            case "on", "yes", "true", "y": self = true
            case "off", "no", "false", "n": self = false
            default: throw value.badText("'on' or 'off'")
            }
        } else if case .bool(let bool) = value.json {
            self = bool
        } else {
            throw value.invalidType("boolean")
        }
    }

    /// A JSON boolean.
    public func encode() -> JSON { .bool(self) }
}

extension Double: QAPIType {
    /// Decodes any number.
    public init(decoding value: QAPIValue) throws(QMPError) {
        if value.mode == .keyval {
            guard let number = Double(try value.text()), number.isFinite else { throw value.badText("number") }
            self = number
            return
        }
        switch value.json {
        case .integer(let integer): self = Double(integer)
        case .unsigned(let integer): self = Double(integer)
        case .number(let number): self = number
        default: throw value.invalidType("number")
        }
    }

    /// A JSON number.
    public func encode() -> JSON { .number(self) }
}

extension JSON: QAPIType {
    /// Takes the value as it is.
    public init(decoding value: QAPIValue) throws(QMPError) { self = value.json }

    /// The value itself.
    public func encode() -> JSON { self }
}

/// The type that has `null` as its only value.
public struct QAPINull: QAPIType {
    /// The value.
    public init() {}

    /// Decodes `null`.
    public init(decoding value: QAPIValue) throws(QMPError) {
        guard case .null = value.json else { throw value.invalidType("null") }
    }

    /// JSON's `null`.
    public func encode() -> JSON { .null }
}
