import Glibc
import IOLoop
import Synchronization
import Testing

/// The daemon as a program that runs: what it writes, and how it ends. Used on one loop.
final class DaemonProcess: Sendable {
    /// How a process has ended.
    enum End: Equatable {
        case exited(Int32)
        case killed(Int32)
    }

    private struct State {
        var output = ""
        var end: End?
        var reader: Task<Void, Never>?
    }

    private let identifier: pid_t
    private let state = Mutex(State())
    private let changed = WaitQueue()

    /// The program that was built with the tests, or the one that the environment variable CAIRN_DAEMON names.
    private static let program: String = {
        if let given = getenv("CAIRN_DAEMON") { return String(cString: given) }
        var path = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = max(readlink("/proc/self/exe", &path, path.count), 0)
        let tests = String(decoding: path.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return tests[..<(tests.lastIndex(of: "/") ?? tests.startIndex)] + "/cairn-storage-daemon"
    }()

    /// Starts the program, with `monitor` as its descriptor 3.
    init(arguments: [String], monitor: Socket) throws(Errno) {
        let (output, input) = try Socket.pair()
        defer { input.descriptor.closeNow() }
        do throws(Errno) {
            identifier = try Self.spawn(
                [Self.program] + arguments, output: input.descriptor.rawValue, monitor: monitor.descriptor.rawValue)
        } catch {
            output.descriptor.closeNow()
            throw error
        }
        let reader = Task(executorPreference: IOLoop.required) { await self.readToTheEnd(output) }
        state.withLock { $0.reader = reader }
    }

    private static func spawn(_ words: [String], output: Int32, monitor: Int32) throws(Errno) -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, output, 1)
        posix_spawn_file_actions_adddup2(&actions, output, 2)
        posix_spawn_file_actions_adddup2(&actions, monitor, 3)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // Other tests in this process may block or ignore signals.
        var signals = sigset_t()
        sigemptyset(&signals)
        posix_spawnattr_setsigmask(&attributes, &signals)
        sigfillset(&signals)
        posix_spawnattr_setsigdefault(&attributes, &signals)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
        var pointers = words.map { strdup($0) } + [nil]
        defer { for pointer in pointers { free(pointer) } }
        var identifier = pid_t()
        let error = posix_spawn(&identifier, words[0], &actions, &attributes, &pointers, environ)
        guard error == 0 else { throw Errno(rawValue: error) }
        return identifier
    }

    /// Collects the output; where that ends, the process does.
    private func readToTheEnd(_ socket: Socket) async {
        let buffer = BufferPool.shared.take(count: 4096)
        while let count = try? await socket.recv(into: buffer), count > 0 {
            let text = String(decoding: buffer.bytes[..<count], as: UTF8.self)
            state.withLock { $0.output += text }
            changed.notifyAll()
        }
        BufferPool.shared.give(buffer)
        socket.descriptor.closeNow()
        var status: Int32 = 0
        while waitpid(identifier, &status, 0) == -1, errno == EINTR {}
        let end: End = status & 0x7F == 0 ? .exited(status >> 8 & 0xFF) : .killed(status & 0x7F)
        state.withLock { $0.end = end }
        changed.notifyAll()
    }

    /// How the process has ended; nil as long as it runs.
    var end: End? { state.withLock { $0.end } }
    /// What it has written so far to both of its outputs.
    var output: String { state.withLock { $0.output } }

    /// Waits for the process to end by itself.
    ///
    /// - Throws: `ETIMEDOUT` when it does not, far beyond what any ending takes.
    func waitForEnd(within limit: Duration = .seconds(30)) async throws -> End? {
        try await withTimeout(limit) { try await self.changed.waitCancellable(until: { self.end != nil }) }
        return end
    }

    /// Waits until the process has written a text.
    func waitForOutput(containing text: String) async throws {
        try await changed.waitCancellable(until: { end != nil || output.contains(text) })
        try #require(output.contains(text), "the daemon wrote: \(output)")
    }

    /// Sends a signal, if the process runs.
    func signal(_ number: Int32) {
        if end == nil { kill(identifier, number) }
    }

    /// Ends the process at once, and returns when it is gone.
    func killAndWait() async {
        signal(SIGKILL)
        await state.withLock { $0.reader }?.value
    }

    /// The number of descriptors that the process has open.
    var descriptorCount: Int {
        guard let directory = opendir("/proc/\(identifier)/fd") else { return -1 }
        defer { closedir(directory) }
        var count = -2  // "." and "..".
        while readdir(directory) != nil { count += 1 }
        return count
    }
}
