import JSON

extension JSON {
    /// The text as Python's `json.dumps` writes it, with members in alphabetical order: what golden files hold.
    ///
    /// - Parameter isIndented: whether each member has a line of its own, indented by two spaces for each level.
    func goldenText(isIndented: Bool = false) -> String {
        var text = ""
        write(to: &text, indentation: isIndented ? 0 : nil)
        return text
    }

    private func write(to text: inout String, indentation: Int?) {
        switch self {
        case .array(let elements):
            writeList(elements, "[", "]", to: &text, indentation: indentation) { element, text, inner in
                element.write(to: &text, indentation: inner)
            }
        case .object(let object):
            let members = object.members.sorted { $0.name < $1.name }
            writeList(members, "{", "}", to: &text, indentation: indentation) { member, text, inner in
                JSON.string(member.name).write(to: &text, indentation: nil)
                text += ": "
                member.value.write(to: &text, indentation: inner)
            }
        case .string(let string): text += Self.quoted(string)
        default: text += description
        }
    }

    /// The string in quotes, in ASCII.
    private static func quoted(_ string: String) -> String {
        var text = "\""
        for unit in string.utf16 {
            switch unit {
            case 0x22: text += "\\\""
            case 0x5C: text += "\\\\"
            case 0x0A: text += "\\n"
            case 0x0D: text += "\\r"
            case 0x09: text += "\\t"
            case 0x08: text += "\\b"
            case 0x0C: text += "\\f"
            case 0x20..<0x7F: text.unicodeScalars.append(Unicode.Scalar(UInt8(unit)))
            default:
                let digits = String(unit, radix: 16)
                text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            }
        }
        return text + "\""
    }

    private func writeList<Element>(
        _ elements: [Element], _ open: String, _ close: String, to text: inout String, indentation: Int?,
        write: (Element, inout String, Int?) -> Void
    ) {
        guard !elements.isEmpty else {
            text += open + close
            return
        }
        let inner = indentation.map { $0 + 2 }
        func breakLine(_ width: Int?) -> String { width.map { "\n" + String(repeating: " ", count: $0) } ?? "" }
        text += open
        for (index, element) in elements.enumerated() {
            if index > 0 { text += inner == nil ? ", " : "," }
            text += breakLine(inner)
            write(element, &text, inner)
        }
        text += breakLine(indentation) + close
    }
}
