/// A list of options such as "cluster_size=64k,lazy_refcounts=on": the values of `-o`.
///
/// A comma separates options, in values two commas stand for one. A name alone is `on`; with "no" before it, `off`.
struct OptionList: Hashable, Sendable {
    /// The options in their order; a name may repeat.
    var items: [Item] = []
    /// Whether `help` or `?` is among them.
    var asksForHelp = false

    /// An option.
    struct Item: Hashable, Sendable {
        /// The name.
        var name: String
        /// The value.
        var value: String
    }

    /// Adds what one `-o` says. Failure: "Invalid option list: x", where it is empty or has an empty part at an end.
    mutating func add(_ text: String) throws(ToolFailure) {
        let parts = Self.parts(of: text)
        guard let first = parts.first, let last = parts.last, !first.isEmpty, !last.isEmpty else {
            throw ToolFailure("Invalid option list: \(text)")
        }
        for part in parts where !part.isEmpty {
            if let equals = part.firstIndex(of: "=") {
                items.append(Item(name: String(part[..<equals]), value: String(part[part.index(after: equals)...])))
            } else if part == "help" || part == "?" {
                asksForHelp = true
            } else if part.hasPrefix("no") {
                items.append(Item(name: String(part.dropFirst(2)), value: "off"))
            } else {
                items.append(Item(name: part, value: "on"))
            }
        }
    }

    /// The value of a name that was given last, nil where there is none.
    subscript(name: String) -> String? { items.last { $0.name == name }?.value }

    /// The text between single commas, with two commas made one.
    private static func parts(of text: String) -> [String] {
        var parts = [""]
        var rest = text[...]
        while let character = rest.popFirst() {
            if character != "," {
                parts[parts.count - 1].append(character)
            } else if rest.first == "," {
                rest = rest.dropFirst()
                parts[parts.count - 1].append(",")
            } else {
                parts.append("")
            }
        }
        return parts
    }
}
