/// The values of a format's creation options, checked.
struct CreationOptions: Hashable, Sendable {
    /// The format's options, in the order in which they are printed.
    let known: [CreateOption]
    private var values: [String: String] = [:]

    /// The defaults of a format.
    init(_ known: [CreateOption]) {
        self.known = known
        for option in known { values[option.name] = option.standard }
    }

    /// Takes options over; of a name that repeats the last value counts. Failure: in QEMU's words, which the caller may
    /// precede by the name of the image.
    mutating func take(_ list: OptionList) throws(ToolFailure) {
        for item in list.items { try set(item.name, item.value) }
    }

    /// Sets an option. Failure: there is no such option, or the value is not of its kind.
    mutating func set(_ name: String, _ text: String) throws(ToolFailure) {
        guard let option = known.first(where: { $0.name == name }) else {
            throw ToolFailure("Invalid parameter '\(name)'")
        }
        switch option.kind {
        case .string: values[name] = text
        case .bool:
            guard text == "on" || text == "off" else { throw ToolFailure("Parameter '\(name)' expects 'on' or 'off'") }
            values[name] = text
        case .size: values[name] = String(try OptionSize.parse(text, name: name))
        case .number: values[name] = String(Int64(bitPattern: try Self.number(text, name: name)))
        }
    }

    /// Whether the format has an option.
    func knows(_ name: String) -> Bool { known.contains { $0.name == name } }

    /// The text of an option, nil where it has none.
    subscript(name: String) -> String? { values[name] }
    /// The number of bytes of an option, nil where it has none.
    func size(_ name: String) -> UInt64? { values[name].flatMap { UInt64($0) } }
    /// The number of an option, nil where it has none.
    func number(_ name: String) -> Int64? { values[name].flatMap { Int64($0) } }
    /// Whether an option is on; nil where nothing is said.
    func flag(_ name: String) -> Bool? { values[name].map { $0 == "on" } }

    /// The names of the options that have a value.
    var names: [String] { known.map(\.name).filter { values[$0] != nil } }

    /// All values as they are printed: "cluster_size=65536 size=1048576".
    var text: String {
        known.compactMap { option in
            values[option.name].map { value in
                "\(option.name)=\(String(value.flatMap { $0 == "," ? [",", ","] : [$0] }))"
            }
        }.joined(separator: " ")
    }

    /// An integer: decimal, octal after `0`, or hexadecimal after `0x`; below zero it counts down from 2^64.
    private static func number(_ text: String, name: String) throws(ToolFailure) -> UInt64 {
        let isNegative = text.hasPrefix("-")
        let digits = text.drop { $0 == "-" || $0 == "+" }
        let (radix, rest) =
            digits.hasPrefix("0x") ? (16, digits.dropFirst(2)) : digits.hasPrefix("0") ? (8, digits) : (10, digits)
        guard !rest.isEmpty, rest.allSatisfy({ ($0.hexDigitValue ?? radix) < radix }) else {
            throw ToolFailure("Parameter '\(name)' expects a number")
        }
        guard let value = UInt64(rest, radix: radix) else {
            throw ToolFailure("Value '\(text)' is too large for parameter '\(name)'")
        }
        return isNegative ? 0 &- value : value
    }
}

/// A size as the value of an option of the block layer.
enum OptionSize {
    /// The number of bytes. Failure: in QEMU's words for options.
    ///
    /// - Parameter allowsSign: whether a sign is part of a number, which is out of range where it is a minus.
    static func parse(_ text: String, name: String, allowsSign: Bool = true) throws(ToolFailure) -> UInt64 {
        do throws(Sizes.ParseError) {
            if !allowsSign, text.hasPrefix("-") { throw Sizes.ParseError.malformed }
            return try Sizes.parse(text)
        } catch {
            switch error {
            case .outOfRange: throw ToolFailure("Value '\(text)' is out of range for parameter '\(name)'")
            case .malformed:
                throw ToolFailure(
                    "Parameter '\(name)' expects a non-negative number below 2^64",
                    hint: """
                        Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-
                        and exabytes, respectively.
                        """)
            }
        }
    }
}
