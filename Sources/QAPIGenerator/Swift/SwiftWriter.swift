/// Swift source text in the making.
struct SwiftWriter {
    private(set) var text = ""
    private var depth = 0

    /// The start of a generated file that uses the modules JSON and QAPI.
    init() {
        line("// Made by qapi-generator from qmp-schema/. Do not edit.")
        line()
        line("import JSON")
        line("import QAPI")
    }

    /// One line, indented; an empty one has no blanks.
    mutating func line(_ line: String = "") {
        if !line.isEmpty { text += String(repeating: "    ", count: depth) + line }
        text += "\n"
    }

    /// A line that opens braces, what is inside, and the closing brace.
    mutating func block(_ opening: String, _ body: (inout SwiftWriter) -> Void) {
        line(opening + " {")
        depth += 1
        body(&self)
        depth -= 1
        line("}")
    }

    /// A `switch` statement, its cases at its own depth.
    mutating func choose(_ subject: String, _ body: (inout SwiftWriter) -> Void) {
        line("switch \(subject) {")
        body(&self)
        line("}")
    }

    /// A documentation comment; empty lines separate paragraphs.
    mutating func doc(_ text: String) {
        let width = 116 - 4 * depth
        let paragraphs = text.split(separator: "\n", omittingEmptySubsequences: false)
        for paragraph in paragraphs {
            if paragraph.isEmpty { line("///") }
            for wrapped in wrap(String(paragraph), width: width) { line("/// " + wrapped) }
        }
    }

    /// A declaration with parameters: on one line where it fits, else one parameter per line. Without a body no braces.
    mutating func function(
        _ head: String, _ parameters: [String], _ tail: String = "", _ body: ((inout SwiftWriter) -> Void)?
    ) {
        let short = "\(head)(\(parameters.joined(separator: ", ")))\(tail)"
        if short.count + 4 * depth <= 116 {
            open(short, body)
        } else {
            line(head + "(")
            for (index, parameter) in parameters.enumerated() {
                line("    " + parameter + (index + 1 < parameters.count ? "," : ""))
            }
            open(")" + tail, body)
        }
    }

    private mutating func open(_ head: String, _ body: ((inout SwiftWriter) -> Void)?) {
        if let body { block(head, body) } else { line(head) }
    }
}

/// Breaks a text at blanks into lines of at most `width` characters; a longer word stands alone.
func wrap(_ text: String, width: Int) -> [String] {
    var lines: [String] = []
    var current = ""
    for word in text.split(separator: " ") {
        if !current.isEmpty, current.count + 1 + word.count > width {
            lines.append(current)
            current = ""
        }
        current += (current.isEmpty ? "" : " ") + word
    }
    if !current.isEmpty { lines.append(current) }
    return lines
}
