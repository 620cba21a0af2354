import BlockDrivers
import BlockGraph
import BlockTestSupport
import IOLoop
import StorageTestSupport
import Testing

@testable import BlockJobs

/// Guest writes that go to both sides of a mirror.
@Suite struct MirrorLinkTests {
    private static let length = 1 << 16

    /// A mirror without a job, whose sides are the same.
    @GraphActor
    private final class Rig {
        let graph = BlockGraph()
        let source = MemoryDriver(pattern(MirrorLinkTests.length, 1))
        let target = MemoryDriver(pattern(MirrorLinkTests.length, 1))
        let link: MirrorLink
        let guest: BlockBackend

        init() async throws {
            let link = MirrorLink(
                length: Int64(MirrorLinkTests.length), granularity: 4096, unmaps: true, changed: {})
            self.link = link
            var options = NodeOptions()
            options.discard = .unmap
            let sourceNode = try await graph.openMemory("source", source, options: options)
            let targetNode = try await graph.openMemory("target", target, options: options)
            link.connect(to: try graph.attachWriter(targetNode, description: "the mirror"))
            let filter = try await graph.open(name: "filter", options: options) { node in
                MirrorTopDriver.open(in: node, source: sourceNode, link: link)
            }
            guest = try graph.attachWriter(filter, description: "the guest")
            link.mode = .writeBlocking
        }

        func close() async {
            for backend in graph.backends { await graph.detach(backend) }
            await graph.closeAll()
        }
    }

    private static func run(_ body: @escaping @Sendable @GraphActor (Rig) async throws -> Void) async throws {
        try await onLoop { () async throws(any Error) in
            let rig = try await Rig()
            try await body(rig)
            await rig.close()
        }
    }

    private static func write(_ rig: Rig) -> Task<Errno?, Never> {
        let guest = rig.guest
        return GraphActor.spawn { () async -> Errno? in
            await failure { () async throws(Errno) in try await guest.write(pattern(4096, 2), at: 8192) }
        }
    }

    @Test func `both sides are written at the same time, and the guest waits for both`() async throws {
        try await Self.run { rig in
            let (first, second) = (rig.source.pause(.write), rig.target.pause(.write))
            let write = Self.write(rig)
            await first.waitUntilHeld()
            await second.waitUntilHeld()
            first.resume()
            await letOthersRun()
            #expect(rig.guest.requestsInFlight == 1)
            second.resume()
            let error = await write.value
            #expect(error == nil)
            #expect(rig.target.bytes == rig.source.bytes)
            #expect(rig.link.map.isClean)
            #expect(rig.link.mirroredBytes == 4096)
        }
    }

    @Test func `a target that fails does not fail the guest, and what it lacks is noted`() async throws {
        try await Self.run { rig in
            rig.target.fail(.write, with: .ENOSPC)
            let error = await Self.write(rig).value
            #expect(error == nil)
            #expect(rig.link.map.dirty.snapshot().dirtyByteCount == 4096)
            #expect(rig.link.takeWriteError() == .ENOSPC)
            #expect(rig.link.takeWriteError() == nil)
            #expect(rig.link.mirroredBytes == 0)
        }
    }

    @Test(arguments: [false, true])
    func `a source that fails fails the guest, whatever the target does`(_ targetFails: Bool) async throws {
        try await Self.run { rig in
            rig.source.fail(.write, with: .EIO)
            if targetFails { rig.target.fail(.write, with: .ENOSPC) }
            let error = await Self.write(rig).value
            #expect(error == .EIO)
            // The target may have got what the source has not.
            #expect(rig.link.map.dirty.snapshot().dirtyByteCount == 4096)
            #expect(rig.link.takeWriteError() == nil)
        }
    }

    @Test func `zeroes that reach both sides are known to be zeroes of the target`() async throws {
        try await Self.run { rig in
            try await rig.guest.writeZeroes(0..<8192)
            #expect(rig.link.map.targetIsZero(0..<8192))
            #expect(rig.target.bytes == rig.source.bytes)
            try await rig.guest.write(pattern(512, 3), at: 0)
            #expect(!rig.link.map.targetIsZero(0..<4096))
            #expect(rig.link.map.targetIsZero(4096..<8192))
        }
    }

    @Test func `a discard is brought to the target as what the source reads as then`() async throws {
        try await Self.run { rig in
            try await rig.guest.discard(4096..<8192)
            #expect(rig.source.requests.contains { $0.operation == .discard })
            #expect(rig.target.bytes == rig.source.bytes)
            #expect(rig.link.map.isClean)
        }
    }
}

/// Lets tasks that are ready run for a while.
func letOthersRun() async {
    for _ in 0..<200 { await Task.yield() }
}
