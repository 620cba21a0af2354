import BlockGraph
import CLinuxShims
import Glibc
import IOLoop

/// The program that runs the interpreter's commands on images: from its options, or from lines that are typed.
public struct IOProgram: Sendable {
    /// The version of the program.
    public let version: String
    /// Opens images.
    public let opener: IOSession.Opener
    /// What commands need beyond the graph.
    public let hooks: IOCommandHooks
    /// Makes the object of an `--object` option. Error: there is no such kind, or its options are wrong.
    public let makeObject: @GraphActor @Sendable (String) throws(BlockError) -> Void

    /// A program of its parts.
    public init(
        version: String, opener: @escaping IOSession.Opener, hooks: IOCommandHooks,
        makeObject: @escaping @GraphActor @Sendable (String) throws(BlockError) -> Void
    ) {
        self.version = version
        self.opener = opener
        self.hooks = hooks
        self.makeObject = makeObject
    }

    /// Runs the process from the command line to its end; does not return. Called on the main thread before there are others.
    ///
    /// The exit status is 0 where all commands were done, and 1 where one failed or the image could not be opened.
    public func run() -> Never {
        let options: IOProgramOptions
        switch IOProgramOptions.scan() {
        case .run(let found): options = found
        case .help: finish(printing: IOProgramHelp.text(programName), status: 0)
        case .version: finish(printing: "\(programName) version \(version)\n", status: 0)
        case .usage: finish(printing: IOProgramHelp.text(programName), status: 1)
        case .failure(let message):
            Self.report(message)
            exit(1)
        }
        signal(SIGPIPE, SIG_IGN)
        GraphActor.spawn { exit(await carryOut(options)) }
        IOLoop.main.run()
        exit(0)
    }

    @GraphActor
    private func carryOut(_ options: IOProgramOptions) async -> Int32 {
        do throws(BlockError) {
            for object in options.objects { try makeObject(object) }
        } catch {
            Self.report(error.description)
            return 1
        }
        let session = IOSession(opener: opener, hooks: completedHooks, output: Self.output)
        if options.image.path != nil {
            var request = options.image
            if options.isOptionString, let text = request.path {
                request.path = nil
                request.options = IOInvocation.driverOptions(text) { Self.report($0) }
            }
            guard await session.open(request) else { return 1 }
        }
        if options.commands.isEmpty {
            await session.runLines(of: FileDescriptor(rawValue: 0))
        } else {
            for command in options.commands {
                guard await session.run(command) else { break }
            }
        }
        await session.close()
        return session.hasFailed ? 1 : 0
    }

    private var completedHooks: IOCommandHooks {
        var hooks = hooks
        hooks.raiseSignal = { number in
            // The signal is the user's wish, and no crash to be told of.
            signal(number, SIG_DFL)
            raise(number)
        }
        return hooks
    }

    private func finish(printing text: String, status: Int32) -> Never {
        Self.write(text, to: 1)
        exit(status)
    }

    /// Where the commands' text goes.
    static let output = IOCommandOutput(
        print: { write($0, to: 1) }, report: { report($0) }, complain: { write($0, to: 2) })

    /// Prints a message on the standard error output, behind the program's name.
    static func report(_ message: String) { write("\(programName): \(message)\n", to: 2) }

    /// Writes all of the text; what cannot be written is lost.
    private static func write(_ text: String, to descriptor: Int32) {
        var text = text
        text.withUTF8 { bytes in
            var rest = UnsafeRawBufferPointer(bytes)
            while let start = rest.baseAddress, !rest.isEmpty {
                let count = Glibc.write(descriptor, start, rest.count)
                if count < 0, errno != EINTR { return }
                rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(max(0, count)))
            }
        }
    }
}

/// The program's name in messages: the last part of the path that it was called by.
private let programName: String = {
    guard let name = CommandLine.arguments.first?.split(separator: "/").last else { return "cairn-io" }
    return String(name)
}()
