import Glibc
import IOLoop
import JSON
import Synchronization

/// What a scenario works with: a directory of its own, the server and the tools under test, and the log.
public final class ScenarioContext: Sendable {
    /// The server under test.
    public let server: ServerProgram
    /// The program for images: cairn-img or qemu-img.
    public let imageTool: String
    /// The scenario's directory, which goes away with it.
    public let directory: String
    /// What is replaced in the log.
    public let filter: OutputFilter

    private let processNumber = String(getpid())
    private let lines = Mutex("")
    private let processes = Mutex<[ChildProcess]>([])

    init(server: ServerProgram, imageTool: String, directory: String) {
        self.server = server
        self.imageTool = imageTool
        self.directory = directory
        filter = OutputFilter(directory: directory, processNumber: processNumber)
    }

    // MARK: The log

    /// The log so far.
    public var output: String { lines.withLock { $0 } }

    /// Adds a line to the log, filtered.
    public func log(_ line: String = "") {
        let text = filter.filtered(line) + "\n"
        lines.withLock { $0 += text }
    }

    /// Adds a value to the log, in one line or in many.
    public func log(_ value: JSON, isIndented: Bool = false) { log(value.goldenText(isIndented: isIndented)) }

    // MARK: Files and programs

    /// A path in the scenario's directory whose name no other process uses.
    public func path(_ name: String) -> String { "\(directory)/\(processNumber)-\(name)" }

    /// Starts the server with a client.
    public func startServer(_ arguments: [String] = []) async throws -> ServerInstance {
        try await ServerInstance.start(server, arguments, in: self)
    }

    /// Runs the program for images to its end: its exit status and what it wrote.
    @discardableResult
    public func image(_ arguments: String...) async throws -> (status: Int32, output: String) {
        try await run([imageTool] + arguments)
    }

    /// Runs the program for images, which must succeed.
    public func imageSucceeding(_ arguments: String...) async throws {
        let (status, output) = try await run([imageTool] + arguments)
        guard status == 0 else { throw ScenarioFailure("\(arguments) ended with \(status): \(output)") }
    }

    /// Runs a program to its end in the scenario's directory: its exit status and what it wrote.
    func run(_ words: [String], environment: [String: String] = [:]) async throws -> (status: Int32, output: String) {
        let process = try spawn(words, environment: environment)
        return (await process.waitForEnd(), process.output)
    }

    /// Starts a program, which is killed at the scenario's end where it still runs.
    func spawn(
        _ words: [String], environment: [String: String] = [:], inherited: Socket? = nil
    ) throws -> ChildProcess {
        do {
            let process = try ChildProcess(
                words, directory: directory, environment: environment, inherited: inherited)
            processes.withLock { $0.append(process) }
            return process
        } catch {
            throw ScenarioFailure("cannot run \(words[0]): \(error)")
        }
    }

    /// Ends what still runs.
    func end() async {
        for process in processes.withLock({ $0 }) {
            process.signal(SIGKILL)
            _ = await process.waitForEnd()
        }
    }
}
