import CLinuxShims
import Glibc
import IOLoop
import Synchronization

/// A program that a scenario runs, with what it writes to both of its outputs.
final class ChildProcess: Sendable {
    private struct State {
        var output: [UInt8] = []
        var status: Int32?
    }

    private let identifier: pid_t
    private let state = Mutex(State())
    private let changed = WaitQueue()

    /// Starts a program. On an I/O loop. Errors: those of socketpair(2) and posix_spawn(3).
    ///
    /// - Parameters:
    ///   - words: the program's path, and its arguments.
    ///   - directory: the working directory.
    ///   - environment: what is added to this process's environment.
    ///   - inherited: a socket that becomes the program's descriptor 3.
    init(
        _ words: [String], directory: String, environment: [String: String] = [:], inherited: Socket? = nil
    ) throws(Errno) {
        let (output, input) = try Socket.pair()
        defer { input.descriptor.closeNow() }
        do throws(Errno) {
            identifier = try Self.spawn(
                words, directory, environment, output: input.descriptor.rawValue,
                inherited: inherited?.descriptor.rawValue)
        } catch {
            output.descriptor.closeNow()
            throw error
        }
        Task(executorPreference: IOLoop.required) { await self.readToTheEnd(output) }
    }

    /// What the program has written so far.
    var output: String { String(decoding: state.withLock { $0.output }, as: UTF8.self) }

    /// Waits for the program's end: its exit status, or 128 and the number of the signal that killed it.
    func waitForEnd() async -> Int32 {
        await changed.wait(until: { state.withLock { $0.status != nil } })
        return state.withLock { $0.status } ?? -1
    }

    /// Waits for the program's end, at most for some time; nil after that.
    func waitForEnd(within limit: Duration) async -> Int32? {
        try? await withTimeout(limit) {
            try await self.changed.waitCancellable(until: { self.state.withLock { $0.status != nil } })
        }
        return state.withLock { $0.status }
    }

    /// Sends a signal where the program still runs.
    func signal(_ number: Int32) {
        state.withLock { state in
            if state.status == nil { _ = kill(identifier, number) }
        }
    }

    private static func spawn(
        _ words: [String], _ directory: String, _ environment: [String: String], output: Int32, inherited: Int32?
    ) throws(Errno) -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, output, 1)
        posix_spawn_file_actions_adddup2(&actions, output, 2)
        if let inherited { posix_spawn_file_actions_adddup2(&actions, inherited, 3) }
        cairn_spawn_in_directory(&actions, directory)
        var arguments = words.map { strdup($0) } + [nil]
        defer { for argument in arguments { free(argument) } }
        var variables = environment.map { strdup("\($0.key)=\($0.value)") }
        var place = environ
        while let variable = place.pointee {
            let name = String(cString: variable).prefix { $0 != "=" }
            if environment[String(name)] == nil { variables.append(strdup(variable)) }
            place += 1
        }
        variables.append(nil)
        defer { for variable in variables { free(variable) } }
        var identifier = pid_t()
        let error = posix_spawnp(&identifier, words[0], &actions, nil, &arguments, &variables)
        guard error == 0 else { throw Errno(rawValue: error) }
        return identifier
    }

    /// Collects the output; where it ends, the process does.
    private func readToTheEnd(_ socket: Socket) async {
        let buffer = BufferPool.shared.take(count: 65536)
        while let count = try? await socket.recv(into: buffer), count > 0 {
            state.withLock { $0.output += buffer.bytes[..<count] }
        }
        BufferPool.shared.give(buffer)
        socket.descriptor.closeNow()
        state.withLock { state in
            var status: Int32 = 0
            while waitpid(identifier, &status, 0) == -1, errno == EINTR {}
            state.status = status & 0x7F == 0 ? status >> 8 & 0xFF : 128 + status & 0x7F
        }
        changed.notifyAll()
    }
}
