import BlockGraph
import BlockTestSupport
import Glibc
import IOLoop
import StorageTestSupport
import Testing

@testable import BlockDrivers

/// Writers on several loops while readers verify the point in time. CAIRN_STRESS_SECONDS=60 runs for about a minute.
@Suite struct SnapshotStressTests {
    /// How many operations each worker does.
    private static let operations: Int = {
        let seconds = getenv("CAIRN_STRESS_SECONDS").flatMap { Int(String(cString: $0)) } ?? 3
        return max(1, seconds) * 15
    }()

    /// What a round varies.
    enum Variant: String, Sendable, CaseIterable {
        case plain, bitmap, unalignedDisk, slowTarget, failingTarget, timeouts, delayedCopies
    }

    @Test(arguments: Variant.allCases, [1, 2])
    func `readers see the old data while writers write`(_ variant: Variant, _ seed: Int) async throws {
        try await withLoops(3) { loops in
            try await Round(variant: variant, seed: UInt64(seed), operations: Self.operations).run(on: loops)
        }
    }

    @Test func `a storm of cancelled tasks and deletes under load`() async throws {
        try await withLoops(3) { loops in
            for seed in 0..<UInt64(max(2, Self.operations / 20)) {
                try await storm(seed: seed, loops: loops)
            }
        }
    }

    /// One generation: requests from tasks that are cancelled at any time, then everything is taken down while copies may
    /// still run by themselves.
    private func storm(seed: UInt64, loops: [IOLoop]) async throws {
        var abilities = MemoryDriver.Abilities()
        abilities.yields = true
        let rig = try await on(loops[0]) { [abilities] () async throws(BlockError) in
            try await SnapshotRig(
                randomDisk(8 * 65536, seed: seed), onError: seed % 4 < 2 ? .breakGuestWrite : .breakSnapshot,
                timeout: seed % 2 == 0 ? 0 : 1, sourceAbilities: abilities, targetAbilities: abilities)
        }
        var random = SeededGenerator(seed: seed)
        var tasks: [Task<Bool, Never>] = []
        for worker in 0..<24 {
            let offset = Int64.random(in: 0..<8 * 65536 - 70_000, using: &random)
            let count = Int.random(in: 1..<70_000, using: &random)
            tasks.append(
                Task(executorPreference: loops[worker % loops.count]) {
                    if worker % 3 == 0 {
                        let bytes = try? await rig.snapshot(offset..<offset + Int64(count))
                        return bytes == nil || bytes == rig.old(offset..<offset + Int64(count))
                    }
                    try? await rig.guest.write(pattern(count, UInt8(worker)), at: offset)
                    return true
                })
        }
        for task in tasks where Bool.random(using: &random) { task.cancel() }
        for task in tasks { #expect(await task.value, "seed \(seed)") }
        await rig.close()
        #expect(rig.source.violations + rig.target.violations == [], "seed \(seed)")
        #expect(rig.filter.state.copies.isEmpty && rig.filter.state.reads.isEmpty)
        #expect(rig.filter.background.countInside == 0)
    }

    /// Each writer has a stripe of its own within each block of 8 KiB, so that the disk's contents are known although they
    /// all write to the same clusters.
    private struct Round: Sendable {
        let variant: Variant
        let seed: UInt64
        let operations: Int

        static let writers = 8
        static let readers = 4
        /// With 1000 bytes the writers share blocks, which are read, changed and written.
        var stripe: Int { variant == .unalignedDisk ? 1000 : 1024 }

        var size: Int { variant == .unalignedDisk ? 24 * 65536 + 777 : 24 * 65536 }

        func makeRig() async throws(BlockError) -> SnapshotRig {
            var abilities = MemoryDriver.Abilities()
            abilities.yields = true
            if variant == .unalignedDisk { abilities.limits.requestAlignment = 512 }
            return try await SnapshotRig(
                randomDisk(size, seed: seed), covered: variant == .bitmap ? [65536..<9 * 65536] : nil,
                onError: variant == .delayedCopies ? .breakSnapshot : .breakGuestWrite,
                timeout: variant == .timeouts ? 5 : 0, sourceAbilities: abilities, targetAbilities: abilities)
        }

        func run(on loops: [IOLoop]) async throws {
            let rig = try await on(loops[0]) { () async throws(BlockError) in try await makeRig() }
            let model = Locked(rig.old)
            let problems = Locked<[String]>([])
            let isOver = Flag()
            await withTaskGroup(of: Void.self) { group in
                for reader in 0..<Self.readers {
                    group.addTask(executorPreference: loops[(reader + 1) % loops.count]) {
                        await read(rig, reader: reader, until: isOver, problems)
                    }
                }
                await withTaskGroup(of: Void.self) { writers in
                    for writer in 0..<Self.writers {
                        writers.addTask(executorPreference: loops[writer % loops.count]) {
                            await write(rig, writer: writer, model, problems)
                        }
                    }
                    if variant == .failingTarget {
                        writers.addTask(executorPreference: loops[0]) { await breakThings(rig) }
                    }
                }
                isOver.set()
            }
            #expect(problems.value == [], "seed \(seed)")
            #expect(rig.source.bytes == model.value, "seed \(seed)")
            #expect(rig.source.violations + rig.target.violations == [], "seed \(seed)")
            if variant != .bitmap {
                let bytes = try await on(loops[0]) { () async throws(Errno) in try await rig.snapshot(rig.all) }
                #expect(bytes == rig.old, "seed \(seed)")
            }
            await rig.close()
        }

        /// Writes within the writer's stripe, unaligned and of any size; now and then zeroes.
        private func write(
            _ rig: SnapshotRig, writer: Int, _ model: Locked<[UInt8]>, _ problems: Locked<[String]>
        ) async {
            var random = SeededGenerator(seed: seed &* 1000 &+ UInt64(writer))
            for _ in 0..<operations {
                let block = Int.random(in: 0..<size / (Self.writers * stripe), using: &random)
                let start =
                    (block * Self.writers + writer) * stripe + Int.random(in: 0..<stripe, using: &random)
                let count = Int.random(in: 1...(stripe - start % stripe), using: &random)
                let isZero = Int.random(in: 0..<5, using: &random) == 0
                let bytes = isZero ? pattern(count, 0) : random.bytes(count)
                let error = await failure { () async throws(Errno) in
                    if isZero {
                        try await rig.guest.writeZeroes(Int64(start)..<Int64(start + count))
                    } else {
                        try await rig.guest.write(bytes, at: Int64(start))
                    }
                }
                if error == nil {
                    model.withLock { $0.replaceSubrange(start..<start + count, with: bytes) }
                } else if variant != .failingTarget {
                    problems.withLock { $0.append("writer \(writer): \(String(describing: error))") }
                }
            }
        }

        /// Reads any part of the point in time, over and over.
        private func read(
            _ rig: SnapshotRig, reader: Int, until isOver: Flag, _ problems: Locked<[String]>
        ) async {
            var random = SeededGenerator(seed: seed &* 7777 &+ UInt64(reader))
            let covered = variant == .bitmap ? 65536..<9 * 65536 : 0..<size
            while !isOver.isSet {
                let start = Int.random(in: covered, using: &random)
                let end = min(covered.upperBound, start + Int.random(in: 1...300_000, using: &random))
                let range = Int64(start)..<Int64(end)
                let bytes = try? await rig.snapshot(range)
                if bytes != rig.old(range) { problems.withLock { $0.append("reader \(reader): \(range)") } }
                if Int.random(in: 0..<4, using: &random) == 0 {
                    let status = try? await rig.reader.blockStatusAbove(range).status
                    if status?.length ?? 0 == 0 { problems.withLock { $0.append("reader \(reader): status \(range)") } }
                }
                await Task.yield()
            }
        }

        /// Lets some copies fail.
        private func breakThings(_ rig: SnapshotRig) async {
            for step in 0..<operations {
                rig.target.fail(.write, with: .EIO, count: 1 + step % 3)
                for _ in 0..<20 { await Task.yield() }
            }
            rig.target.repair()
        }
    }
}
