/// Writes JSON text the way QEMU prints it, straight into bytes.
///
/// The text is ASCII: other characters become `\uXXXX` with upper-case digits. Members are separated by `, ` and names
/// from values by `: `; or, with `pretty`, each member and element stands on a line of its own, indented by four spaces
/// a level, and lines end with CR LF. The caller keeps names and values in turn; the writer puts the separators.
public struct JSONWriter: Sendable {
    /// How the members of a `JSON` value are ordered.
    public enum MemberOrder: Sendable {
        /// As they were inserted.
        case insertion
        /// As QEMU prints them: see `QDictOrder`.
        case qdict
    }

    /// What was written so far.
    public private(set) var bytes: [UInt8]

    private let pretty: Bool
    private var depth = 0
    /// Whether a separator precedes the next member or element.
    private var needsSeparator = false
    /// Whether a name was written whose value is still to come.
    private var afterName = false

    /// A writer that has written nothing.
    /// - Parameters:
    ///   - pretty: Whether to spread the text over lines.
    ///   - capacity: The number of bytes to make room for.
    public init(pretty: Bool = false, capacity: Int = 256) {
        self.pretty = pretty
        bytes = []
        bytes.reserveCapacity(capacity)
    }

    /// Opens an object.
    public mutating func beginObject() { begin(UInt8(ascii: "{")) }

    /// Closes the object opened last.
    public mutating func endObject() { end(UInt8(ascii: "}")) }

    /// Opens an array.
    public mutating func beginArray() { begin(UInt8(ascii: "[")) }

    /// Closes the array opened last.
    public mutating func endArray() { end(UInt8(ascii: "]")) }

    /// Writes the name of a member; its value has to follow.
    public mutating func name(_ name: String) {
        separate()
        append(quoting: name)
        bytes.append(UInt8(ascii: ":"))
        bytes.append(UInt8(ascii: " "))
        afterName = true
    }

    /// Writes `null`.
    public mutating func null() { write("null") }

    /// Writes `true` or `false`.
    public mutating func value(_ value: Bool) { write(value ? "true" : "false") }

    /// Writes an integer.
    public mutating func value(_ value: some FixedWidthInteger) {
        separate()
        append(decimal: value)
        needsSeparator = true
    }

    /// Writes a number with the 17 significant digits of C's `%.17g`. JSON has no infinity and no NaN: these become
    /// `1e999`, `-1e999` and `null`.
    public mutating func value(_ value: Double) { write(value.jsonText) }

    /// Writes a string.
    public mutating func value(_ value: String) {
        separate()
        append(quoting: value)
        needsSeparator = true
    }

    /// Writes a value with everything in it.
    public mutating func value(_ value: JSON, order: MemberOrder = .qdict) {
        switch value {
        case .null: null()
        case .bool(let value): self.value(value)
        case .integer(let value): self.value(value)
        case .unsigned(let value): self.value(value)
        case .number(let value): self.value(value)
        case .string(let value): self.value(value)
        case .array(let elements):
            beginArray()
            for element in elements { self.value(element, order: order) }
            endArray()
        case .object(let object): self.value(object, order: order)
        }
    }

    /// Writes an object with everything in it.
    public mutating func value(_ object: JSONObject, order: MemberOrder = .qdict) {
        beginObject()
        switch order {
        case .insertion:
            for (name, value) in object.members { member(name, value, order) }
        case .qdict where object.count < 2:
            for (name, value) in object.members { member(name, value, order) }
        case .qdict:
            for position in QDictOrder.positions(of: object.members.lazy.map(\.name)) {
                let (name, value) = object.members[position]
                member(name, value, order)
            }
        }
        endObject()
    }

    /// Ends a message of the protocol with CR LF; another may follow.
    public mutating func endMessage() {
        bytes.append(UInt8(ascii: "\r"))
        bytes.append(UInt8(ascii: "\n"))
        needsSeparator = false
    }

    private mutating func member(_ name: String, _ value: JSON, _ order: MemberOrder) {
        self.name(name)
        self.value(value, order: order)
    }

    private mutating func begin(_ bracket: UInt8) {
        separate()
        bytes.append(bracket)
        depth += 1
        needsSeparator = false
    }

    private mutating func end(_ bracket: UInt8) {
        depth -= 1
        if pretty { breakLine() }
        bytes.append(bracket)
        needsSeparator = true
    }

    private mutating func write(_ text: String) {
        separate()
        bytes.append(contentsOf: text.utf8)
        needsSeparator = true
    }

    /// Writes what stands between the text so far and the next name, element or bracket.
    private mutating func separate() {
        if afterName {
            afterName = false
            return
        }
        if needsSeparator { bytes.append(UInt8(ascii: ",")) }
        if pretty {
            if depth > 0 { breakLine() }
        } else if needsSeparator {
            bytes.append(UInt8(ascii: " "))
        }
    }

    private mutating func breakLine() {
        bytes.append(UInt8(ascii: "\r"))
        bytes.append(UInt8(ascii: "\n"))
        bytes.append(contentsOf: repeatElement(UInt8(ascii: " "), count: 4 * depth))
    }

    private mutating func append(quoting string: String) {
        bytes.append(UInt8(ascii: "\""))
        bytes.append(escaping: string)
        bytes.append(UInt8(ascii: "\""))
    }

    private mutating func append(decimal value: some FixedWidthInteger) {
        if value < 0 { bytes.append(UInt8(ascii: "-")) }
        let start = bytes.count
        var rest = value.magnitude
        repeat {
            let (quotient, remainder) = rest.quotientAndRemainder(dividingBy: 10)
            bytes.append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: remainder))
            rest = quotient
        } while rest != 0
        bytes[start...].reverse()
    }
}

extension JSON {
    /// The text of the value: see `JSONWriter`.
    public func encoded(pretty: Bool = false, order: JSONWriter.MemberOrder = .qdict) -> [UInt8] {
        var writer = JSONWriter(pretty: pretty)
        writer.value(self, order: order)
        return writer.bytes
    }
}

extension JSON: CustomStringConvertible {
    /// The text of the value on one line, with the members as they were inserted.
    public var description: String { String(decoding: encoded(order: .insertion), as: UTF8.self) }
}
