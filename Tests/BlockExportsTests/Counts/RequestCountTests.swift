import IOLoop
import NBDProtocol
import StorageTestSupport
import Testing

/// What one NBD request costs the server in the steady state, counted on the thread of the loop that serves it, after a warm-up.
///
/// Counted are the calls themselves (`CallCounts`), not what the server says of itself. The limits are what is necessary and a
/// little more for what rounds and their beginnings cost; they do not depend on how fast the machine is.
@Suite(.enabled(if: CallCounts.isAvailable))
struct RequestCountTests {
    @Test(arguments: CountingServer.Disk.allCases)
    func `one short request at a time takes three system calls and copies nothing`(disk: CountingServer.Disk)
        async throws
    {
        try await measure(disk, length: 4096, depth: 1, rounds: 400) { command, cost in
            // The wait for the request, which takes it, too; the read or write of the file; the reply.
            #expect(cost.systemCalls <= 3.5, "\(command): \(cost)")
            // Data are received where they are written from, and read where they are sent from.
            #expect(cost.copiedBytes == 0, "\(command): \(cost)")
            #expect(cost.allocations <= Self.allocations, "\(command): \(cost)")
        }
    }

    @Test(arguments: CountingServer.Disk.allCases)
    func `short requests at the same time share all system calls but the one on the file`(
        disk: CountingServer.Disk
    ) async throws {
        try await measure(disk, length: 4096, depth: 32, rounds: 100) { command, cost in
            // One for each on the file. For all 32 together: one or two replies, one or two waits, and two for the pause in
            // which the client sends, which the test makes.
            #expect(cost.systemCalls <= 1 + 8.0 / 32, "\(command): \(cost)")
            // The request of which only a part came is moved to the start of the memory for requests.
            #expect(cost.copiedBytes <= 4096 / 16, "\(command): \(cost)")
            #expect(cost.allocations <= Self.allocations, "\(command): \(cost)")
        }
    }

    @Test(arguments: CountingServer.Disk.allCases)
    func `long requests copy nothing and take few system calls`(disk: CountingServer.Disk) async throws {
        try await measure(disk, length: 1 << 20, depth: 1, rounds: 40) { command, cost in
            // The header, the rest of the payload, the file, the reply; a wait for each; and the socket, which holds less than
            // a request, may make more of them.
            #expect(cost.systemCalls <= 10, "\(command): \(cost)")
            // What of the payload came with the header.
            #expect(cost.copiedBytes <= 4096, "\(command): \(cost)")
            #expect(cost.allocations <= Self.allocationsOfLongRequests, "\(command): \(cost)")
        }
    }

    #if DEBUG
        /// Without optimization, generic code and values that the optimizer would remove are allocated.
        private static let allocations = 12.0
        private static let allocationsOfLongRequests = 80.0
    #else
        /// None but when an array grows.
        private static let allocations = 0.02
        private static let allocationsOfLongRequests = 0.5
    #endif

    /// Measures reads and writes.
    private func measure(
        _ disk: CountingServer.Disk, length: Int, depth: Int, rounds: Int,
        _ check: @escaping @Sendable (NBDCommand, Cost) -> Void
    ) async throws {
        try await CountingServer.run(disk) { servers in
            try await withLoop("client") { _ in
                let client = try await CountingClient(servers[0], "disk0")
                defer { client.close() }
                for command in [NBDCommand.read, .write] {
                    check(command, try client.cost(of: command, length: length, depth: depth, rounds: rounds))
                }
            }
        }
    }
}
