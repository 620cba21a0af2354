extension Schema {
    /// Checks the style of the names that a definition brings, unless it is excepted.
    func checkNames(_ definition: Definition) throws(SchemaError) {
        if nameExceptions.contains(definition.name) { return }
        switch definition.kind {
        case .command(let command):
            try require(isKebab(definition.name), definition, "a command is named in lower case with dashes")
            try check(names: membersGiven(command.data), of: definition)
        case .event(let event):
            let follows = definition.name.utf8.allSatisfy { isUpper($0) || isDigit($0) || $0 == UInt8(ascii: "_") }
            try require(follows, definition, "an event is named in upper case with underscores")
            try check(names: membersGiven(event.data), of: definition)
        case .struct(let found):
            try checkTypeName(definition)
            try check(names: found.members.map(\.name), of: definition)
        case .union(let union):
            try checkTypeName(definition)
            try check(names: membersGiven(union.base), of: definition)
        case .alternate:
            try checkTypeName(definition)
        case .enum(let values):
            try checkTypeName(definition)
            for value in values {
                try require(
                    isKebab(value.name, digitsFirst: true), definition,
                    "value '\(value.name)' must be in lower case with dashes")
            }
        }
    }

    private func membersGiven(_ data: Data) -> [String] {
        if case .members(let members) = data { members.map(\.name) } else { [] }
    }

    private func check(names: [String], of definition: Definition) throws(SchemaError) {
        for name in names {
            try require(isKebab(name), definition, "member '\(name)' must be in lower case with dashes")
        }
    }

    private func checkTypeName(_ definition: Definition) throws(SchemaError) {
        let name = definition.name.utf8
        let isCamel = name.allSatisfy { isUpper($0) || isLower($0) || isDigit($0) }
        try require(isCamel && name.first.map(isUpper) == true, definition, "a type is named in camel case")
    }

    private func require(_ condition: Bool, _ definition: Definition, _ rule: String) throws(SchemaError) {
        if !condition { throw definition.error(rule) }
    }

    private func isKebab(_ name: String, digitsFirst: Bool = false) -> Bool {
        let bytes = name.utf8
        guard let first = bytes.first, isLower(first) || digitsFirst && isDigit(first) else { return false }
        return bytes.allSatisfy { isLower($0) || isDigit($0) || $0 == UInt8(ascii: "-") }
    }

    private func isLower(_ byte: UInt8) -> Bool { (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) }
    private func isUpper(_ byte: UInt8) -> Bool { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) }
    private func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }
}
