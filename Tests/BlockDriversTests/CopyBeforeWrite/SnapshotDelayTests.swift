import BlockGraph
import BlockTestSupport
import IOLoop
import StorageTestSupport
import Testing

@testable import BlockDrivers

/// Old data that are in memory on their way to the target, with `on-cbw-error=break-snapshot`.
@Suite struct SnapshotDelayTests {
    /// A rig whose target stands still, after guest writes to some clusters.
    private func stuckRig(
        clusters: Int, writing: [Int64], old: [UInt8]? = nil
    ) async throws -> (rig: SnapshotRig, pause: Pause) {
        let rig = try await SnapshotRig(old ?? randomDisk(clusters * 65536), onError: .breakSnapshot)
        let pause = rig.target.pause(.write)
        for cluster in writing { try await rig.guest.write(pattern(512, 1), at: cluster * 65536 + 100) }
        return (rig, pause)
    }

    @Test func `guest writes do not wait for the target, and the reader has the old data from memory`() async throws {
        try await onLoop { () async throws(any Error) in
            let (rig, pause) = try await stuckRig(clusters: 4, writing: [1, 3])
            #expect(rig.source.bytes[65536 + 100] == pattern(1, 1)[0])
            #expect(pause.heldCount == 2)
            // What is in memory counts as done.
            #expect(rig.bitmaps.done == [rig.cluster(1), rig.cluster(3)])
            #expect(rig.bitmaps.copy == [rig.cluster(0), rig.cluster(2)])
            let ranges: [ByteRange] = [rig.all, 65536..<65537, 65_600..<66_200, 2 * 65536 - 1..<3 * 65536 + 1]
            for range in ranges {
                let bytes = try await rig.snapshot(range)
                #expect(bytes == rig.old(range))
            }
            #expect(!rig.target.requests.contains { $0.operation == .read })
            let status = try await rig.reader.blockStatusAbove(rig.cluster(1).lowerBound..<4 * 65536).status
            #expect(status == BlockStatus(length: 65536, isData: true, isAllocated: true))
            // A cluster is copied once.
            try await rig.guest.write(pattern(512, 2), at: 65536)
            #expect(rig.target.requests.filter { $0.operation == .write }.count == 2)
            pause.resume()
            await rig.filter.background.waitUntilEmpty()
            #expect(Array(rig.target.bytes[65536..<2 * 65536]) == rig.old(rig.cluster(1)))
            let after = try await rig.snapshot(rig.all)
            #expect(after == rig.old)
            #expect(rig.target.requests.contains { $0.operation == .read })
            await rig.close()
        }
    }

    @Test func `zeroes in memory read and count as zeroes`() async throws {
        try await onLoop { () async throws(any Error) in
            let rig = try await SnapshotRig(pattern(2 * 65536, 0), onError: .breakSnapshot)
            let pause = rig.target.pause(.writeZeroes)
            try await rig.guest.write([1], at: 0)
            let status = try await rig.reader.blockStatusAbove(0..<65536).status
            #expect(status.isZero && !status.isData && status.length == 65536)
            pause.resume()
            await rig.close()
            #expect(rig.target.bytes.prefix(65536).allSatisfy { $0 == 0 })
        }
    }

    @Test func `old data that do not arrive break the point in time`() async throws {
        try await onLoop { () async throws(any Error) in
            let (rig, pause) = try await stuckRig(clusters: 2, writing: [0])
            let reading = try await rig.snapshot(rig.all)
            #expect(reading == rig.old)
            rig.target.fail(.write, with: .EIO)
            pause.resume()
            await rig.filter.background.waitUntilEmpty()
            let error = await failure { () async throws(Errno) in _ = try await rig.snapshot(rig.all) }
            #expect(error == .EACCES)
            #expect(rig.filter.state.error == .EIO)
            // As where the guest had waited.
            #expect(rig.bitmaps.done == [] && rig.bitmaps.copy == [rig.all])
            try await rig.guest.write(pattern(512, 3), at: 0)
            #expect(rig.source.bytes.prefix(512) == pattern(512, 3)[...])
            await rig.close()
        }
    }

    @Test func `a flush waits for old data, and makes them durable`() async throws {
        try await onLoop { () async throws(any Error) in
            let (rig, pause) = try await stuckRig(clusters: 1, writing: [0])
            let flush = start { () async throws(Errno) in try await rig.guest.flush() }
            await letOthersRun()
            #expect(!rig.target.requests.contains { $0.operation == .flush })
            pause.resume()
            try await flush.value.get()
            #expect(Array(rig.target.requests.map(\.operation).suffix(2)) == [.write, .flush])
            await rig.close()
        }
    }

    @Test func `a drained section, and the end of the filter, wait for old data`() async throws {
        try await onLoop { () async throws(any Error) in
            let (rig, pause) = try await stuckRig(clusters: 1, writing: [0])
            let isDrained = Flag()
            let drain = Task {
                try await rig.graph.drained([rig.sourceNode]) { () async throws(BlockError) in isDrained.set() }
            }
            await letOthersRun()
            #expect(!isDrained.isSet)
            pause.resume()
            try await drain.value
            #expect(rig.target.bytes == rig.old)

            let last = try await stuckRig(clusters: 1, writing: [0])
            let isClosed = Flag()
            let closing = Task(executorPreference: IOLoop.required) {
                await last.rig.close()
                isClosed.set()
            }
            await letOthersRun()
            #expect(!isClosed.isSet && !last.rig.target.isClosed)
            last.pause.resume()
            await closing.value
            #expect(last.rig.target.bytes == last.rig.old && last.rig.target.violations == [])
            await rig.close()
        }
    }

    @Test func `a discard by the reader waits for old data in its range`() async throws {
        try await onLoop { () async throws(any Error) in
            let (rig, pause) = try await stuckRig(clusters: 2, writing: [0])
            let discard = start { () async throws(Errno) in try await rig.reader.discard(0..<65536) }
            await letOthersRun()
            #expect(!rig.target.requests.contains { $0.operation == .discard })
            try await rig.reader.discard(65536..<2 * 65536)
            pause.resume()
            try await discard.value.get()
            #expect(Array(rig.target.requests.map(\.operation)) == [.write, .discard, .discard])
            await rig.close()
        }
    }

    @Test func `where memory is full a guest write waits for its own copy`() async throws {
        try await onLoop { () async throws(any Error) in
            let capacity = DelayedWriter.capacity / 65536
            let (rig, pause) = try await stuckRig(clusters: Int(capacity) + 2, writing: Array(0..<capacity))
            let isWritten = Flag()
            let write = start { () async throws(Errno) in
                try await rig.guest.write([1], at: capacity * 65536)
                isWritten.set()
            }
            await letOthersRun()
            #expect(!isWritten.isSet)
            pause.resume()
            try await write.value.get()
            // There is room again.
            let again = rig.target.pause(.write, in: rig.cluster(capacity + 1))
            await rig.filter.background.waitUntilEmpty()
            try await rig.guest.write([1], at: (capacity + 1) * 65536)
            again.resume()
            let bytes = try await rig.snapshot(rig.all)
            #expect(bytes == rig.old)
            await rig.close()
            #expect(rig.target.bytes == rig.old)
        }
    }

    @Test func `cutting the disk off does not leave old data behind the drained section`() async throws {
        try await onLoop { () async throws(any Error) in
            let rig = try await SnapshotRig(randomDisk(2 * 65536), onError: .breakSnapshot)
            try await rig.graph.drained([rig.filterNode]) { () async throws(BlockError) in
                try await rig.filterNode.resize(to: 65536, exact: true)
                #expect(rig.filter.background.countInside == 0)
            }
            let bytes = try await rig.snapshot(rig.all)
            #expect(bytes == rig.old)
            await rig.close()
        }
    }

    /// What makes guest writes wait for the target.
    enum Reason: String, Sendable, CaseIterable {
        case breaksGuestWrites, hasTimeout, targetIsShared
    }

    @Test(arguments: Reason.allCases)
    func `guest writes wait for the target where that can be noticed`(_ reason: Reason) async throws {
        try await onLoop { () async throws(any Error) in
            let rig = try await SnapshotRig(
                randomDisk(65536), onError: reason == .breaksGuestWrites ? .breakGuestWrite : .breakSnapshot,
                timeout: reason == .hasTimeout ? 5 : 0)
            let other =
                reason != .targetIsShared
                ? nil
                : try await rig.graph.attach(
                    "somebody", to: rig.targetNode, permissions: PermissionPair(used: .consistentRead))
            let pause = rig.target.pause(.write)
            let write = start { () async throws(Errno) in try await rig.guest.write([1], at: 0) }
            await pause.waitUntilHeld()
            await letOthersRun()
            #expect(rig.guest.requestsInFlight == 1 && rig.source.bytes == rig.old)
            pause.resume()
            try await write.value.get()
            if let other { await rig.graph.detach(other) }
            await rig.close()
        }
    }

    /// Guest writes, snapshot reads, statuses, discards by the reader, flushes and drained sections in random order, on a target
    /// that is slow and now and then fails, against a model of the disk and of what the reader has given up.
    @Test(arguments: 1...12 as ClosedRange<UInt64>)
    func `random operations while old data are on their way`(_ seed: UInt64) async throws {
        try await withLoops(2) { loops in
            let rig = try await on(loops[0]) { () async throws(BlockError) in
                var abilities = MemoryDriver.Abilities()
                abilities.yields = true
                return try await SnapshotRig(
                    randomDisk(24 * 65536 + (seed % 2 == 0 ? 0 : 777), seed: seed), onError: .breakSnapshot,
                    sourceAbilities: abilities, targetAbilities: abilities)
            }
            var model = DelayModel(rig: rig, seed: seed)
            for step in 0..<200 {
                let problem = try await on(loops[step % 2]) { [model] () async throws(any Error) in
                    var model = model
                    let problem = try await model.step()
                    return (problem, model)
                }
                model = problem.1
                #expect(problem.0 == nil, "seed \(seed), step \(step)")
            }
            await rig.close()
            #expect(rig.source.bytes == model.disk, "seed \(seed)")
            #expect(rig.source.violations + rig.target.violations == [], "seed \(seed)")
            #expect(rig.filter.state.arrivals.isEmpty && rig.filter.state.copies.isEmpty, "seed \(seed)")
            #expect(rig.filter.background.countInside == 0, "seed \(seed)")
            for cluster in model.inTarget {
                let range = cluster.clamped(to: rig.all)
                let bytes = Array(rig.target.bytes[Int(range.lowerBound)..<Int(range.upperBound)])
                #expect(model.isBroken || bytes == rig.old(range), "seed \(seed)")
            }
        }
    }
}

/// What random operations should find.
private struct DelayModel: Sendable {
    let rig: SnapshotRig
    var disk: [UInt8]
    /// The clusters that the reader has given up.
    var given: Set<Int64> = []
    /// Those that the guest has written before.
    var written: Set<Int64> = []
    /// Whether a copy may have failed, so that reads may fail from now on.
    var mayBreak = false
    var pause: Pause?
    var random: SeededGenerator

    init(rig: SnapshotRig, seed: UInt64) {
        self.rig = rig
        disk = rig.old
        random = SeededGenerator(seed: seed)
    }

    var isBroken: Bool { rig.filter.state.error != nil }
    /// The clusters whose old data are to be in the target at the end.
    var inTarget: [ByteRange] { written.subtracting(given).map { rig.cluster($0) } }

    private mutating func range(upTo limit: Int) -> ByteRange {
        let start = Int.random(in: 0..<disk.count, using: &random)
        return Int64(start)..<Int64(min(disk.count, start + Int.random(in: 1...limit, using: &random)))
    }

    private func clusters(_ range: ByteRange) -> ClosedRange<Int64> {
        range.lowerBound / 65536...(range.upperBound - 1) / 65536
    }

    /// One operation; what is wrong, if anything is.
    mutating func step() async throws -> String? {
        switch Int.random(in: 0..<20, using: &random) {
        case 0..<8: return try await write()
        case 8..<14: return await read()
        case 14: return await status()
        case 15: try await discard()
        case 16: letTargetGo()
        case 17: if pause == nil { pause = rig.target.pause(.write, limit: Int.random(in: 1...6, using: &random)) }
        case 18: try await settle()
        default:
            if Int.random(in: 0..<8, using: &random) == 0 {
                rig.target.fail(.write, with: .EIO, count: 1)
                mayBreak = true
            }
        }
        return nil
    }

    private mutating func letTargetGo() {
        pause?.resume()
        pause = nil
    }

    /// Writes of the guest wait only where memory is full, which it never is here.
    private mutating func write() async throws -> String? {
        let range = range(upTo: 100_000)
        let bytes = random.bytes(Int(range.length))
        try await rig.guest.write(bytes, at: range.lowerBound)
        disk.replaceSubrange(Int(range.lowerBound)..<Int(range.upperBound), with: bytes)
        for cluster in clusters(range) where !given.contains(cluster) { written.insert(cluster) }
        return nil
    }

    private mutating func read() async -> String? {
        let range = range(upTo: 300_000)
        let isAccessible = clusters(range).allSatisfy { !given.contains($0) }
        let bytes = try? await rig.snapshot(range)
        if let bytes { return isAccessible && bytes == rig.old(range) ? nil : "wrong bytes in \(range)" }
        return isAccessible && !(mayBreak && isBroken) ? "no bytes in \(range)" : nil
    }

    private mutating func status() async -> String? {
        let range = range(upTo: 300_000)
        guard let status = try? await rig.reader.blockStatusAbove(range).status else {
            return given.contains(range.lowerBound / 65536) || mayBreak && isBroken ? nil : "no status of \(range)"
        }
        let run = range.lowerBound..<min(range.upperBound, range.lowerBound + status.length)
        if status.isZero, rig.old(run).contains(where: { $0 != 0 }) { return "\(run) is not zero" }
        return status.length > 0 ? nil : "an empty status of \(range)"
    }

    /// The reader gives something up; that waits for old data on their way.
    private mutating func discard() async throws {
        let range = range(upTo: 200_000)
        letTargetGo()
        try await rig.reader.discard(range)
        let end = range.upperBound == Int64(disk.count) ? Int64((disk.count + 65535) / 65536) : range.upperBound / 65536
        let first = (range.lowerBound + 65535) / 65536
        if first < end { given.formUnion(first..<end) }
    }

    /// A flush, or a drained section: no old data are on their way afterwards.
    private mutating func settle() async throws {
        letTargetGo()
        if Bool.random(using: &random) { return try await rig.guest.flush() }
        let rig = rig
        try await rig.graph.drained([rig.targetNode]) { () async throws(BlockError) in
            guard rig.filter.background.countInside == 0 else { throw BlockError("old data are on their way") }
        }
    }
}
