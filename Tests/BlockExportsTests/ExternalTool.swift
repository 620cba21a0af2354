import Foundation
import StorageTestSupport

/// A program of the system that a test compares with, or lets talk to the server.
struct ExternalTool: Sendable {
    /// Where it is, nil if it is not installed.
    let path: String?

    /// Finds a program of the system; `package` is the Debian package that has it.
    init(_ name: String, package: String) {
        path = ["/usr/bin", "/bin", "/usr/local/bin"].map { "\($0)/\(name)" }
            .first { FileManager.default.isExecutableFile(atPath: $0) }
        missing = "needs \(name): apt-get install \(package)"
    }

    /// A program of the unpacked reference QEMU, if it is there.
    init(reference name: String) {
        let directory = NSHomeDirectory() + "/.cache/reference-qemu/bin"
        path = ["\(directory)/\(name)"].first { FileManager.default.isExecutableFile(atPath: $0) }
        missing = "needs \(name) of the reference programs"
    }

    /// What to say when it is not installed.
    let missing: String

    static let nbdinfo = ExternalTool("nbdinfo", package: "libnbd-bin")
    static let nbdcopy = ExternalTool("nbdcopy", package: "libnbd-bin")
    static let qemuImg = ExternalTool("qemu-img", package: "qemu-utils")
    static let qemuIO = ExternalTool("qemu-io", package: "qemu-utils")
    static let fio = ExternalTool("fio", package: "fio")
    /// Debian's Python, which finds Debian's modules.
    static let python = ExternalTool("python3", package: "python3-libnbd")
    static let newNbdinfo = ExternalTool(reference: "nbdinfo")
    static let newNbdcopy = ExternalTool(reference: "nbdcopy")

    /// Whether Debian's Python finds libnbd.
    static let hasPythonLibnbd = FileManager.default.fileExists(atPath: "/usr/lib/python3/dist-packages/nbd.py")
    /// Whether fio was built with its NBD engine.
    static let hasFioEngine = FileManager.default.isExecutableFile(atPath: "/usr/bin/fio")

    var isInstalled: Bool { path != nil }

    /// What a program left behind.
    struct Outcome: Sendable {
        var status: Int32
        var output: String
    }

    /// Runs the program to its end; standard output and standard error come together.
    func run(_ arguments: [String], in directory: String) async throws -> Outcome {
        guard let path else { throw NBDTestFailure(missing) }
        let log = URL(fileURLWithPath: "\(directory)/out-\(UUID().uuidString)")
        _ = FileManager.default.createFile(atPath: log.path, contents: nil)
        let handle = try FileHandle(forWritingTo: log)
        defer { try? handle.close() }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: path)
        process.arguments = arguments
        process.currentDirectoryURL = URL(fileURLWithPath: directory)
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = handle
        process.standardError = handle
        let status = try await withCheckedThrowingContinuation {
            (continuation: CheckedContinuation<Int32, any Error>) in
            process.terminationHandler = { continuation.resume(returning: $0.terminationStatus) }
            do {
                try process.run()
            } catch {
                continuation.resume(throwing: error)
            }
        }
        let output = try String(decoding: Data(contentsOf: log), as: UTF8.self)
        return Outcome(status: status, output: output)
    }

    /// Runs the program, which must succeed, and returns what it said.
    func check(_ arguments: [String], in directory: String) async throws -> String {
        let outcome = try await run(arguments, in: directory)
        guard outcome.status == 0 else {
            throw NBDTestFailure("\(path ?? "") \(arguments) ended with \(outcome.status): \(outcome.output)")
        }
        return outcome.output
    }
}
