import IOLoop

/// A command of the monitor for people, which `human-monitor-command` runs.
public struct HumanMonitorCommand: Sendable {
    /// What a command takes.
    public enum Parameter: Hashable, Sendable {
        /// An option of one letter.
        case flag(Character)
        /// The name of a device or node.
        case device
        /// A word, or a string in quotes.
        case string
        /// A word that may be left out, and the words behind it that do not matter.
        case optionalTopic
    }

    /// What was given.
    public struct Arguments: Sendable {
        /// The letters of the options.
        public var flags: Set<Character> = []
        /// The other arguments, in their order.
        public var values: [String] = []
    }

    /// The names, the first one first.
    public let names: [String]
    /// The arguments in the help.
    public let synopsis: String
    /// What the command does; further lines after newlines.
    public let summary: String
    /// What it takes, in this order.
    public let parameters: [Parameter]
    /// Carries it out; the text of the reply, whose lines end in newlines.
    public let body: @GraphActor @Sendable (Arguments) async -> String

    /// A command with its parts.
    public init(
        names: [String], synopsis: String = "", summary: String, parameters: [Parameter] = [],
        body: @escaping @GraphActor @Sendable (Arguments) async -> String
    ) {
        self.names = names
        self.synopsis = synopsis
        self.summary = summary
        self.parameters = parameters
        self.body = body
    }

    /// The lines of help.
    var help: String { "\(names.joined(separator: "|")) \(synopsis) -- \(summary)\n" }

    /// A line that cannot be taken apart.
    struct ParseFailure: Error {
        /// A line to print to the server's output first; nil for nothing.
        var print: String?
        /// The reply.
        var reply: String
    }

    /// Takes the arguments apart; `name` is the line up to them.
    func parse(_ line: ArraySlice<UInt8>, as name: String) throws(ParseFailure) -> Arguments {
        do {
            return try parse(line)
        } catch {
            guard !error.reply.isEmpty else { throw error }
            let reply = "\(names.joined(separator: "|")): \(error.reply)Try \"help \(name)\" for more information\n"
            throw ParseFailure(print: error.print, reply: reply)
        }
    }

    private func parse(_ line: ArraySlice<UInt8>) throws(ParseFailure) -> Arguments {
        var scanner = HumanArgumentScanner(line)
        var arguments = Arguments()
        for parameter in parameters {
            switch parameter {
            case .flag(let letter):
                guard let option = scanner.option() else { continue }
                guard letter.asciiValue == option else { throw unsupported(option) }
                arguments.flags.insert(letter)
            case .device: arguments.values.append(try string(&scanner, "block device name expected\n"))
            case .string: arguments.values.append(try string(&scanner, "string expected\n"))
            case .optionalTopic:
                if !scanner.isAtEnd() { arguments.values.append(try string(&scanner, "")) }
                return arguments
            }
        }
        guard scanner.isAtEnd() else { throw ParseFailure(reply: "extraneous characters at the end of line\n") }
        return arguments
    }

    private func string(_ scanner: inout HumanArgumentScanner, _ complaint: String) throws(ParseFailure) -> String {
        do throws(HumanArgumentScanner.StringError) {
            return try scanner.string()
        } catch {
            guard case .malformed(let line) = error else { throw ParseFailure(reply: complaint) }
            throw ParseFailure(print: line + "\n", reply: complaint)
        }
    }

    private func unsupported(_ option: UInt8) -> ParseFailure {
        // A line that ends in "-" swallows the newline.
        let letter = option == 0 ? "" : String(decoding: [option], as: UTF8.self) + "\n"
        return ParseFailure(reply: "unsupported option -\(letter)")
    }
}
