import IOLoop
import NBDProtocol
import StorageTestSupport
import Testing

/// Loops that serve exports of their own do not get in each other's way.
@Suite(.enabled(if: CallCounts.isAvailable))
struct ContentionTests {
    @Test(arguments: CountingServer.Disk.allCases)
    func `requests on two loops never wait for a lock`(disk: CountingServer.Disk) async throws {
        try await CountingServer.run(disk, loops: 2) { servers in
            try await withThrowingTaskGroup { group in
                for (number, server) in servers.enumerated() {
                    group.addTask {
                        try await withLoop("client-\(number)") { _ in
                            let client = try await CountingClient(server, "disk\(number)")
                            defer { client.close() }
                            for command in [NBDCommand.read, .write] {
                                for (length, depth, rounds) in [(4096, 32, 200), (65536, 4, 200), (1 << 20, 4, 20)] {
                                    let cost = try client.cost(
                                        of: command, length: length, depth: depth, rounds: rounds, isHeld: false)
                                    // A thread that has to wait for a lock calls the kernel, and so does who lets it go on.
                                    #expect(cost.lockWaits == 0, "\(command), \(length) bytes: \(cost)")
                                }
                            }
                        }
                    }
                }
                try await group.waitForAll()
            }
        }
    }
}
