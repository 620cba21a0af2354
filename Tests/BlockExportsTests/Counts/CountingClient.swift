import BlockExports
import Glibc
import IOLoop
import NBDProtocol
import StorageTestSupport

/// A client whose requests reach the server all at once, so that the server's counts do not depend on timing.
///
/// It works with plain system calls on the thread of a loop that does nothing else.
struct CountingClient {
    let server: CountingServer
    private let client: NBDTestClient
    private let memory: UnsafeMutableRawBufferPointer

    /// Connects to an export, and fills the disk, so that every cluster is allocated, or copied.
    init(_ server: CountingServer, _ name: String, headers: NBDHeaderMode = .structured) async throws {
        self.server = server
        client = try await .open(server.path, name, headers: headers)
        memory = .allocate(byteCount: 8 << 20, alignment: 4096)
        memory.initializeMemory(as: UInt8.self, repeating: 7)
        for offset in stride(from: 0, to: CountingServer.size, by: 1 << 20) {
            try round(.write, length: 1 << 20, at: [offset], isHeld: false)
        }
    }

    func close() {
        client.close()
        memory.deallocate()
    }

    /// What one request costs the server on average, after a warm-up.
    ///
    /// - Parameters:
    ///   - depth: how many requests reach the server at the same time. More than one: the server's loop is kept busy until all
    ///     have been sent.
    ///   - rounds: how often that many requests are sent.
    ///   - isHeld: false where the loop is never kept busy, so that it may see the requests one by one.
    func cost(
        of command: NBDCommand, length: Int, depth: Int, rounds: Int, isHeld: Bool = true
    ) throws -> Cost {
        let isHeld = isHeld && depth > 1
        var random = SeededGenerator(seed: 1)
        func offsets() -> [Int] {
            (0..<depth).map { _ in Int.random(in: 0..<CountingServer.size / length, using: &random) * length }
        }
        for _ in 0..<max(20, rounds / 4) { try round(command, length: length, at: offsets(), isHeld: isHeld) }
        let before = server.counter.now
        for _ in 0..<rounds { try round(command, length: length, at: offsets(), isHeld: isHeld) }
        let counts = server.counter.now - before
        return Cost(counts, requests: rounds * depth)
    }

    /// Sends requests and receives all replies.
    private func round(_ command: NBDCommand, length: Int, at offsets: [Int], isHeld: Bool) throws {
        var count = 0
        for (index, offset) in offsets.enumerated() {
            let request = NBDRequest(
                flags: [], type: command.rawValue, cookie: UInt64(index), offset: UInt64(offset), length: UInt64(length)
            )
            let header = client.encoded(request)
            UnsafeMutableRawBufferPointer(rebasing: memory[count...]).copyBytes(from: header)
            count += header.count + (command == .write ? length : 0)
        }
        // More bytes than the socket takes would never be sent.
        let hold = isHeld && count <= 150_000 ? Hold(server.loop) : nil
        defer { hold?.end() }
        try send(count)
        hold?.end()
        // A header of a reply takes 16 bytes; of a chunk with data 28.
        let reply = command == .read ? length + (client.headers == .simple ? 16 : 28) : 16
        try receive(reply * offsets.count)
    }

    private func send(_ count: Int) throws {
        var done = 0
        while done < count {
            let sent = Glibc.send(
                client.socket.descriptor.rawValue, memory.baseAddress?.advanced(by: done), count - done, 0)
            guard sent > 0 else { throw NBDTestFailure("send: \(errno)") }
            done += sent
        }
    }

    private func receive(_ count: Int) throws {
        let scratch = UnsafeMutableRawPointer.allocate(byteCount: 1 << 20, alignment: 4096)
        defer { scratch.deallocate() }
        var done = 0
        while done < count {
            let got = recv(client.socket.descriptor.rawValue, scratch, min(1 << 20, count - done), 0)
            guard got > 0 else { throw NBDTestFailure("recv: \(errno)") }
            done += got
        }
    }
}

/// What one request costs.
struct Cost: CustomStringConvertible {
    let systemCalls: Double
    let allocations: Double
    let copiedBytes: Double
    let lockWaits: Double

    init(_ counts: CallCounts, requests: Int) {
        systemCalls = Double(counts.systemCalls) / Double(requests)
        allocations = Double(counts.allocations) / Double(requests)
        copiedBytes = Double(counts.copiedBytes) / Double(requests)
        lockWaits = Double(counts.lockWaits) / Double(requests)
    }

    var description: String {
        "\(systemCalls) system calls, \(allocations) allocations, \(copiedBytes) bytes copied, \(lockWaits) waits for locks"
    }
}

/// Keeps a loop's thread from doing anything until it ends.
private final class Hold: @unchecked Sendable {
    // Unchecked: semaphores are made for several threads.
    private let isHeld = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)
    private let end_ = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)
    private var hasEnded = false

    init(_ loop: IOLoop) {
        sem_init(isHeld, 0, 0)
        sem_init(end_, 0, 0)
        Task.detached(executorPreference: loop) { [self] in wait() }
        while sem_wait(isHeld) != 0 {}
    }

    private func wait() {
        sem_post(isHeld)
        while sem_wait(end_) != 0 {}
    }

    func end() {
        guard !hasEnded else { return }
        hasEnded = true
        sem_post(end_)
    }

    deinit {
        sem_destroy(isHeld)
        sem_destroy(end_)
        isHeld.deallocate()
        end_.deallocate()
    }
}
