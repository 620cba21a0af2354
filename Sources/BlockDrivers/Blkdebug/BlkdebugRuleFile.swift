import BlockGraph
import JSON

/// The rules that a configuration file of `blkdebug` holds. Spec: blkdebug.rst.
///
/// The file has sections `[inject-error]` and `[set-state]`, each of which is a rule, with lines `key = "value"`. Blanks
/// around the equals sign matter, as they do in QEMU. Lines that begin with `#` are comments.
struct BlkdebugRuleFile: Equatable, Sendable {
    private(set) var injections: [BlkdebugInjectError] = []
    private(set) var transitions: [BlkdebugSetState] = []

    private struct Section {
        let kind: String
        /// The lines of the section; a key that repeats keeps its last value.
        var values: [(key: String, value: String)] = []

        subscript(key: String) -> String? { values.first { $0.key == key }?.value }

        mutating func set(_ key: String, to value: String) {
            if let index = values.firstIndex(where: { $0.key == key }) {
                values[index].value = value
            } else {
                values.append((key, value))
            }
        }
    }

    private static let keys: [String: Set<String>] = [
        "inject-error": ["event", "state", "iotype", "errno", "delay-ns", "sector", "once", "immediately"],
        "set-state": ["event", "state", "new_state"],
    ]

    /// Reads the text of a file. Errors, in QEMU's words: a line or a value makes no sense.
    init(parsing text: String) throws(BlockError) {
        var sections: [Section] = []
        func checkLast() throws(BlockError) {
            if let section = sections.last { try Self.check(section) }
        }
        for line in text.split(separator: "\n", omittingEmptySubsequences: true) {
            let content = line.drop(while: Self.isBlank)
            guard let first = content.first, !line.hasPrefix("#") else { continue }
            if first == "[" {
                try checkLast()
                sections.append(Section(kind: Self.sectionKind(content)))
                continue
            }
            guard let section = sections.indices.last else { throw BlockError("no group defined") }
            let (key, value) = try Self.keyAndValue(content)
            sections[section].set(key, to: value)
        }
        try checkLast()
        for section in sections { try add(section) }
    }

    private static func isBlank(_ character: Character) -> Bool { character == " " || character == "\t" }

    /// The kind of section that a line `[kind]` or `[kind "name"]` begins.
    private static func sectionKind(_ line: Substring) -> String {
        var name = line.dropFirst().prefix { $0 != "]" }
        if let blank = name.firstIndex(where: isBlank), name[blank...].contains("\"") { name = name[..<blank] }
        return line.contains("]") ? String(name) : "\(name)\n"
    }

    /// The parts of a line `key = "value"`. What stands without quotes is an empty value.
    private static func keyAndValue(_ line: Substring) throws(BlockError) -> (String, String) {
        let key = line.prefix { !isBlank($0) }
        let rest = line[key.endIndex...].drop(while: isBlank)
        guard rest.first == "=" else {
            guard key.contains("=") else { throw BlockError("parse error") }
            return (String(key), "")
        }
        let quoted = rest.dropFirst().drop(while: isBlank)
        guard quoted.first == "\"" else { return (String(key), "") }
        let value = quoted.dropFirst()
        // A value without its closing quote takes the end of the line in.
        guard let end = value.firstIndex(of: "\"") else { return (String(key), "\(value)\n") }
        return (String(key), String(value[..<end]))
    }

    /// Checks the kind of a section and its lines, those in the order in which QEMU's hash table has them.
    private static func check(_ section: Section) throws(BlockError) {
        guard let known = keys[section.kind] else { throw BlockError("There is no option group '\(section.kind)'") }
        for position in QDictOrder.positions(of: section.values.map(\.key)) {
            let (key, value) = section.values[position]
            guard known.contains(key) else { throw BlockError("Invalid parameter '\(key)'") }
            try check(key, value)
        }
    }

    /// Checks a value that is a number or a boolean.
    private static func check(_ key: String, _ value: String) throws(BlockError) {
        switch key {
        case "event", "iotype": return
        case "once", "immediately":
            guard boolean(value) != nil else { throw BlockError("Parameter '\(key)' expects 'on' or 'off'") }
        default:
            guard number(value) != nil else { throw BlockError("Parameter '\(key)' expects a number") }
        }
    }

    private static func boolean(_ text: String) -> Bool? {
        switch text {
        case "on", "yes", "true", "y": true
        case "off", "no", "false", "n": false
        default: nil
        }
    }

    /// A number as C reads it: decimal, hexadecimal with "0x", octal with "0"; from -2^63 to 2^64 - 1, and wrapped around.
    private static func number(_ text: String) -> Int64? {
        var digits = Substring(text)
        let isNegative = digits.first == "-"
        if isNegative { digits = digits.dropFirst() }
        var radix = 10
        if digits.hasPrefix("0x") || digits.hasPrefix("0X") {
            digits = digits.dropFirst(2)
            radix = 16
        } else if digits.hasPrefix("0"), digits.count > 1 {
            radix = 8
        }
        guard let first = digits.first, first != "+", first != "-" else { return nil }
        guard let magnitude = UInt64(digits, radix: radix) else { return nil }
        return isNegative ? 0 &- Int64(bitPattern: magnitude) : Int64(bitPattern: magnitude)
    }

    private mutating func add(_ section: Section) throws(BlockError) {
        guard let name = section["event"] else { throw BlockError("Missing event name for rule") }
        guard DebugEvent.allNames.contains(name) else { throw BlockError("invalid parameter value: \(name)") }
        let event = DebugEvent(rawValue: name)
        if section.kind == "set-state" {
            transitions.append(
                BlkdebugSetState(
                    event: event, state: section["state"].flatMap(Self.number),
                    newState: section["new_state"].flatMap(Self.number) ?? 0))
            return
        }
        var rule = BlkdebugInjectError(event: event)
        if let text = section["iotype"] {
            guard let type = BlkdebugIOType(rawValue: text) else {
                throw BlockError("invalid parameter value: \(text)")
            }
            rule.ioType = type
        }
        rule.state = section["state"].flatMap(Self.number)
        rule.errno = section["errno"].flatMap(Self.number)
        rule.delayNanoseconds = section["delay-ns"].flatMap(Self.number)
        rule.sector = section["sector"].flatMap(Self.number)
        rule.once = section["once"].flatMap(Self.boolean)
        rule.immediately = section["immediately"].flatMap(Self.boolean)
        injections.append(rule)
    }
}
