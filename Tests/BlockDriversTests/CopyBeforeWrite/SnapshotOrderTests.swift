import BlockGraph
import BlockTestSupport
import IOLoop
import StorageTestSupport
import Testing

@testable import BlockDrivers

/// Who waits for whom.
@Suite struct SnapshotOrderTests {
    @Test func `snapshot reads do not wait for guest writes`() async throws {
        try await onLoop { () async throws(any Error) in
            let rig = try await SnapshotRig(randomDisk(2 * 65536))
            let pause = rig.target.pause(.write)
            let write = start { () async throws(Errno) in try await rig.guest.write(pattern(65536, 1), at: 0) }
            await pause.waitUntilHeld()
            let during = try await rig.snapshot(rig.all)
            #expect(during == rig.old)
            #expect(rig.guest.requestsInFlight == 1)
            #expect(rig.source.bytes == rig.old)
            pause.resume()
            try await write.value.get()
            let after = try await rig.snapshot(rig.all)
            #expect(after == rig.old)
            await rig.close()
        }
    }

    @Test func `guest writes wait for overlapping snapshot reads of the disk, and for no others`() async throws {
        try await onLoop { () async throws(any Error) in
            let rig = try await SnapshotRig(randomDisk(3 * 65536))
            let pause = rig.source.pause(.read, in: 0..<512, limit: 1)
            let read = start { () async throws(Errno) in try await rig.snapshot(0..<512) }
            await pause.waitUntilHeld()
            try await rig.guest.write(pattern(65536, 1), at: 65536)
            let write = start { () async throws(Errno) in try await rig.guest.write(pattern(512, 2), at: 60_000) }
            await letOthersRun()
            #expect(rig.target.requests.contains { $0.range == rig.cluster(0) })
            #expect(!rig.source.requests.contains { $0.operation == .write && $0.range.lowerBound < 65536 })
            // The cluster is in the target now: new reads go there, and the write does not wait for them.
            let held = rig.target.pause(.read, limit: 1)
            let late = start { () async throws(Errno) in try await rig.snapshot(0..<512) }
            await held.waitUntilHeld()
            pause.resume()
            try await write.value.get()
            let early = try await read.value.get()
            #expect(early == rig.old(0..<512))
            held.resume()
            let later = try await late.value.get()
            #expect(later == rig.old(0..<512))
            await rig.close()
        }
    }

    @Test func `two writes to a cluster copy it once`() async throws {
        try await onLoop { () async throws(any Error) in
            let rig = try await SnapshotRig(randomDisk(65536))
            let pause = rig.target.pause(.write)
            let first = start { () async throws(Errno) in try await rig.guest.write(pattern(512, 1), at: 0) }
            let second = start { () async throws(Errno) in try await rig.guest.write(pattern(512, 2), at: 4096) }
            await pause.waitUntilHeld()
            await letOthersRun()
            #expect(rig.source.bytes == rig.old)
            pause.resume()
            try await first.value.get()
            try await second.value.get()
            #expect(rig.target.requests.filter { $0.operation == .write }.count == 1)
            await rig.close()
        }
    }

    @Test func `a discard of the target waits for reads and copies of the same clusters`() async throws {
        try await onLoop { () async throws(any Error) in
            let rig = try await SnapshotRig(randomDisk(2 * 65536))
            try await rig.guest.write([1], at: 0)
            let pause = rig.target.pause(.read, limit: 1)
            let read = start { () async throws(Errno) in try await rig.snapshot(0..<65536) }
            await pause.waitUntilHeld()
            let copying = rig.target.pause(.write, limit: 1)
            let write = start { () async throws(Errno) in try await rig.guest.write([1], at: 65536) }
            await copying.waitUntilHeld()
            let discard = start { () async throws(Errno) in try await rig.reader.discard(0..<2 * 65536) }
            await letOthersRun()
            #expect(!rig.target.requests.contains { $0.operation == .discard })
            copying.resume()
            try await write.value.get()
            await letOthersRun()
            #expect(!rig.target.requests.contains { $0.operation == .discard })
            pause.resume()
            let bytes = try await read.value.get()
            #expect(bytes == rig.old(0..<65536))
            try await discard.value.get()
            #expect(rig.target.requests.contains { $0.operation == .discard })
            await rig.close()
        }
    }

    @Test func `draining waits for guest writes, and snapshot reads go on after it`() async throws {
        try await onLoop { () async throws(any Error) in
            let rig = try await SnapshotRig(randomDisk(65536))
            let pause = rig.target.pause(.write)
            let write = start { () async throws(Errno) in try await rig.guest.write([1], at: 0) }
            await pause.waitUntilHeld()
            let isDrained = Flag()
            let drain = Task {
                try await rig.graph.drained([rig.sourceNode]) { () async throws(BlockError) in isDrained.set() }
            }
            await letOthersRun()
            #expect(!isDrained.isSet)
            let read = start { () async throws(Errno) in try await rig.snapshot(rig.all) }
            pause.resume()
            try await drain.value
            try await write.value.get()
            let bytes = try await read.value.get()
            #expect(bytes == rig.old)
            await rig.close()
        }
    }
}
