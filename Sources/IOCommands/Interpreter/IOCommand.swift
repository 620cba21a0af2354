import BlockGraph

/// A command of the interpreter: its names, how it is called, and what it does.
struct IOCommand: Sendable {
    /// Who may give a command.
    enum Audience: Hashable, Sendable {
        /// Everybody.
        case all
        /// The users of a program that opens images itself.
        case program
    }

    /// The name.
    let name: String
    /// Another name.
    let alias: String?
    /// The fewest words behind the name, options included.
    let minimumArguments: Int
    /// The most of them; nil for any number.
    let maximumArguments: Int?
    /// The arguments in the help. Empty is not the same as none: `map` has a blank for its arguments.
    let synopsis: String?
    /// What it does, in a few words.
    let summary: String
    /// The rest of the help, with its newlines; nil for none.
    let details: String?
    /// What it does with the node.
    let permissions: BlockPermissions
    /// Who may give it.
    let audience: Audience
    /// Whether it can only be given while an image is open.
    let needsImage: Bool
    /// Carries it out.
    let body: @Sendable (IOInvocation) async -> IOCommandStatus

    init(
        _ name: String, alias: String? = nil, arguments: ClosedRange<Int>? = nil, atLeast minimum: Int = 0,
        synopsis: String? = nil, summary: String, details: String? = nil, permissions: BlockPermissions = [],
        audience: Audience = .all, needsImage: Bool = true,
        body: @escaping @Sendable (IOInvocation) async -> IOCommandStatus
    ) {
        self.name = name
        self.alias = alias
        minimumArguments = arguments?.lowerBound ?? minimum
        maximumArguments = arguments?.upperBound
        self.synopsis = synopsis
        self.summary = summary
        self.details = details
        self.permissions = permissions
        self.audience = audience
        self.needsImage = needsImage
        self.body = body
    }

    /// The line of help under one of the names.
    func line(as name: String) -> String {
        let arguments = synopsis.map { "\($0) " } ?? ""
        return "\(name) \(arguments)-- \(summary)\n"
    }

    /// The line that tells that the number of arguments is wrong; nil where it is right.
    func complaint(ofArguments count: Int, as name: String) -> String? {
        if count >= minimumArguments, count <= maximumArguments ?? count { return nil }
        let expected: String
        switch maximumArguments {
        case nil: expected = "at least \(minimumArguments)"
        case minimumArguments: expected = "\(minimumArguments)"
        case .some(let maximum): expected = "between \(minimumArguments) and \(maximum)"
        }
        return "bad argument count \(count) to \(name), expected \(expected) arguments\n"
    }
}

/// One call of a command.
struct IOInvocation: Sendable {
    /// The interpreter.
    let interpreter: IOCommandInterpreter
    /// The command.
    let command: IOCommand
    /// Its name as it was typed.
    let name: String
    /// The words behind the name.
    let arguments: [String]

    /// The user of the node through which requests go: for commands that need an image.
    var backend: BlockBackend {
        guard let backend = interpreter.backend else { preconditionFailure("\(name) needs an image") }
        return backend
    }

    /// Prints text as it is.
    func print(_ text: String) { interpreter.output.print(text) }

    /// Prints a line, and says that the command failed.
    func fail(_ line: String) -> IOCommandStatus {
        print(line + "\n")
        return .failure
    }

    /// Prints how the command is called, and says that it failed.
    func failWithUsage() -> IOCommandStatus {
        print(command.line(as: command.name))
        return .failure
    }

    /// Reports an error of the control plane, and says that the command failed.
    func report(_ message: String) -> IOCommandStatus {
        interpreter.output.report(message)
        return .failure
    }

    /// The options and operands.
    func scanner(_ specification: String) -> OptionScanner {
        OptionScanner(name: name, words: arguments, specification: specification)
    }
}

/// A command that cannot be carried out as it was given.
enum IOCommandFailure: Error {
    /// A line to print.
    case message(String)
    /// A line to print, and then how the command is called.
    case usage(String?)
}

extension IOInvocation {
    /// Prints what is wrong with the call, and says that the command failed.
    func fail(_ failure: IOCommandFailure) -> IOCommandStatus {
        switch failure {
        case .message(let line): return fail(line)
        case .usage(let line):
            if let line { interpreter.output.complain(line + "\n") }
            return failWithUsage()
        }
    }

    /// Calls `take` for each option in turn, and returns the operands.
    func operands(
        _ specification: String, _ take: (OptionScanner.Option) throws(IOCommandFailure) -> Void
    ) throws(IOCommandFailure) -> [String] {
        var scanner = scanner(specification)
        do {
            while let option = try scanner.next() { try take(option) }
        } catch let error as IOCommandFailure {
            throw error
        } catch let error as OptionScanner.UsageError {
            throw .usage(error.description)
        } catch {
            throw .usage(nil)
        }
        return scanner.operands
    }

    /// A number of bytes, or the message about it.
    static func bytes(_ text: String) throws(IOCommandFailure) -> Int64 {
        do {
            return try ByteCount.parse(text)
        } catch {
            throw .message("\(error.description) -- \(text)")
        }
    }

    /// A byte to fill buffers with, or the message about it.
    static func pattern(_ text: String) throws(IOCommandFailure) -> UInt8 {
        guard let value = parseCInteger(text), let byte = UInt8(exactly: value) else {
            throw .message("\(text) is not a valid pattern byte")
        }
        return byte
    }
}
