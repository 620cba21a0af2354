import BlockGraph
import BlockTestSupport
import IOLoop
import StorageTestSupport
import Testing

@testable import BlockDrivers

/// What breaks when old data cannot be copied: `on-cbw-error` and `cbw-timeout`.
@Suite struct SnapshotErrorTests {
    /// Where the copy fails.
    enum Place: String, Sendable, CaseIterable {
        case readingTheDisk, writingTheTarget

        @Sendable func fail(_ rig: SnapshotRig, with error: Errno) {
            switch self {
            case .readingTheDisk: rig.source.fail(.read, with: error, in: 0..<1)
            case .writingTheTarget: rig.target.fail(.write, with: error, in: 0..<1)
            }
        }
    }

    @Test(arguments: Place.allCases)
    func `break-guest-write fails the write and keeps the point in time`(_ place: Place) async throws {
        try await onLoop { () async throws(any Error) in
            let rig = try await SnapshotRig(randomDisk(2 * 65536))
            place.fail(rig, with: .ENOSPC)
            let error = await failure { () async throws(Errno) in try await rig.guest.write(pattern(70_000, 1), at: 0) }
            #expect(error == .ENOSPC)
            #expect(rig.source.bytes == rig.old)
            #expect(rig.bitmaps.copy == [0..<65536] || rig.bitmaps.copy == [0..<2 * 65536])
            rig.source.repair()
            rig.target.repair()
            let bytes = try await rig.snapshot(rig.all)
            #expect(bytes == rig.old)
            try await rig.guest.write(pattern(70_000, 1), at: 0)
            let after = try await rig.snapshot(rig.all)
            #expect(after == rig.old)
            await rig.close()
        }
    }

    @Test(arguments: Place.allCases)
    func `break-snapshot lets the write go on and the point in time is gone for good`(_ place: Place) async throws {
        try await onLoop { () async throws(any Error) in
            let rig = try await SnapshotRig(randomDisk(2 * 65536), onError: .breakSnapshot)
            place.fail(rig, with: .EIO)
            try await rig.guest.write(pattern(512, 1), at: 0)
            #expect(rig.source.bytes.prefix(512) == pattern(512, 1)[...])
            rig.source.repair()
            rig.target.repair()
            for range in [0..<512, 65536..<65537, rig.all] {
                let error = await failure { () async throws(Errno) in _ = try await rig.snapshot(range) }
                #expect(error == .EACCES)
                let status = await failure { () async throws(Errno) in _ = try await rig.reader.blockStatusAbove(range)
                }
                #expect(status == .EACCES)
            }
            rig.target.forgetRequests()
            try await rig.guest.write(pattern(65536, 1), at: 65536)
            #expect(rig.target.requests == [])
            await rig.close()
        }
    }

    @Test func `a write that waits for the copy of another copies itself when that fails`() async throws {
        try await onLoop { () async throws(any Error) in
            let rig = try await SnapshotRig(randomDisk(65536))
            rig.target.fail(.write, with: .EIO, count: 1)
            let pause = rig.target.pause(.write, limit: 1)
            let first = start { () async throws(Errno) in try await rig.guest.write(pattern(512, 1), at: 0) }
            await pause.waitUntilHeld()
            let second = start { () async throws(Errno) in try await rig.guest.write(pattern(512, 2), at: 4096) }
            await letOthersRun()
            pause.resume()
            let results = (await first.value, await second.value)
            #expect(throws: Errno.EIO) { try results.0.get() }
            try results.1.get()
            let bytes = try await rig.snapshot(rig.all)
            #expect(bytes == rig.old)
            await rig.close()
        }
    }

    @Test func `a target that cannot be flushed fails what on-cbw-error says`() async throws {
        try await onLoop { () async throws(any Error) in
            for onError in [CopyBeforeWriteConfiguration.OnError.breakGuestWrite, .breakSnapshot] {
                let rig = try await SnapshotRig(randomDisk(65536), onError: onError)
                try await rig.guest.write([1], at: 0)
                rig.target.fail(.flush, with: .EIO)
                let error = await failure { () async throws(Errno) in try await rig.guest.flush() }
                #expect(error == (onError == .breakGuestWrite ? .EIO : nil))
                rig.target.repair()
                let read = await failure { () async throws(Errno) in _ = try await rig.snapshot(rig.all) }
                #expect(read == (onError == .breakGuestWrite ? nil : .EACCES))
                await rig.close()
            }
        }
    }

    @Test func `without cbw-timeout nobody looks at the clock`() async throws {
        try await onLoop { () async throws(any Error) in
            let clock = TestClock()
            let rig = try await SnapshotRig(randomDisk(65536), clock: clock)
            try await rig.guest.write([1], at: 0)
            #expect(clock.sleeps == [])
            await rig.close()
        }
    }

    @Test(arguments: [4, 5, 60, .max] as [UInt32])
    func `cbw-timeout counts in seconds`(_ timeout: UInt32) async throws {
        try await onLoop { () async throws(any Error) in
            let clock = TestClock()
            let rig = try await SnapshotRig(randomDisk(2 * 65536), timeout: timeout, clock: clock)
            let pause = rig.target.pause(.write)
            let write = start { () async throws(Errno) in try await rig.guest.write([1], at: 0) }
            await pause.waitUntilHeld()
            await clock.waitUntilAsked(1)
            #expect(clock.sleeps == [.seconds(Int64(timeout))])
            clock.advance(by: .seconds(Int64(timeout)) - .nanoseconds(1))
            await letOthersRun()
            #expect(rig.guest.requestsInFlight == 1)
            clock.advance(by: .nanoseconds(1))
            let result = await write.value
            #expect(throws: Errno.ETIMEDOUT) { try result.get() }
            #expect(rig.source.bytes == rig.old)
            // The copy goes on by itself, and draining waits for it.
            #expect(pause.heldCount == 1)
            let isDrained = Flag()
            let drain = Task {
                try await rig.graph.drained([rig.targetNode]) { () async throws(BlockError) in isDrained.set() }
            }
            await letOthersRun()
            #expect(!isDrained.isSet)
            pause.resume()
            try await drain.value
            #expect(rig.bitmaps.done == [rig.cluster(0)])
            try await rig.guest.write([1], at: 0)
            let bytes = try await rig.snapshot(rig.all)
            #expect(bytes == rig.old)
            await rig.close()
        }
    }

    @Test func `a copy in time cancels its timer, and a write of copied clusters starts none`() async throws {
        try await onLoop { () async throws(any Error) in
            let clock = TestClock()
            let rig = try await SnapshotRig(randomDisk(65536), timeout: 5, clock: clock)
            try await rig.guest.write([1], at: 0)
            let count = clock.sleeps.count
            #expect(count <= 1)
            try await rig.guest.write([2], at: 1)
            #expect(clock.sleeps.count == count)
            clock.advance(by: .seconds(10))
            try await rig.guest.write([3], at: 2)
            await rig.close()
        }
    }

    @Test func `a timeout with break-snapshot lets the write go on`() async throws {
        try await onLoop { () async throws(any Error) in
            let clock = TestClock()
            let rig = try await SnapshotRig(randomDisk(65536), onError: .breakSnapshot, timeout: 4, clock: clock)
            let pause = rig.target.pause(.write)
            let write = start { () async throws(Errno) in try await rig.guest.write([1], at: 0) }
            await pause.waitUntilHeld()
            await clock.waitUntilAsked(1)
            clock.advance(by: .seconds(4))
            try await write.value.get()
            #expect(rig.source.bytes.first == 1)
            let read = await failure { () async throws(Errno) in _ = try await rig.snapshot(0..<1) }
            #expect(read == .EACCES)
            pause.resume()
            await rig.close()
            #expect(rig.target.violations == [])
        }
    }

    @Test func `a node with a copy in the background is not closed before that is done`() async throws {
        try await onLoop { () async throws(any Error) in
            let clock = TestClock()
            let rig = try await SnapshotRig(randomDisk(65536), timeout: 4, clock: clock)
            let pause = rig.target.pause(.write)
            let write = start { () async throws(Errno) in try await rig.guest.write([1], at: 0) }
            await pause.waitUntilHeld()
            await clock.waitUntilAsked(1)
            clock.advance(by: .seconds(4))
            _ = await write.value
            let isClosed = Flag()
            let closing = Task(executorPreference: IOLoop.required) {
                await rig.close()
                isClosed.set()
            }
            await letOthersRun()
            #expect(!isClosed.isSet && !rig.target.isClosed)
            pause.resume()
            await closing.value
            #expect(rig.target.isClosed && rig.target.violations == [])
        }
    }
}
