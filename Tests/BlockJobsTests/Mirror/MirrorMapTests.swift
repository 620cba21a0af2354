import BlockDrivers
import BlockGraph
import BlockTestSupport
import IOLoop
import StorageTestSupport
import Testing

/// Where two sides differ: claims of copies and of guest writes.
@Suite struct MirrorMapTests {
    private static let granule: Int64 = 4096

    private static func makeMap(_ granules: Int64, extra: Int64 = 0) -> MirrorMap {
        MirrorMap(length: granules * granule + extra, granularity: granule)
    }

    @Test func `copies are claimed in order, once each, and the last granule may be short`() {
        let map = Self.makeMap(3, extra: 100)
        map.markDirty(0..<map.length)
        #expect(map.remainingBytes == 4 * Self.granule)
        let first = map.claimCopy(limit: 2 * Self.granule)
        let second = map.claimCopy(limit: 2 * Self.granule)
        #expect(first?.range == 0..<2 * Self.granule)
        #expect(second?.range == 2 * Self.granule..<map.length)
        #expect(map.claimCopy(limit: 1) == nil)
        #expect(!map.isClean)
        for claim in [first, second] { if let claim { map.finishCopy(claim, succeeded: true, isZero: false) } }
        #expect(map.isClean)
        #expect(map.remainingBytes == 0)
    }

    @Test func `what is written during a copy is copied again, but not before the copy has ended`() throws {
        let map = Self.makeMap(2)
        map.markDirty(0..<1)
        let claim = try #require(map.claimCopy(limit: Self.granule))
        map.markDirty(10..<20)
        #expect(!map.hasFreeArea)
        #expect(map.claimCopy(limit: Self.granule) == nil)
        map.finishCopy(claim, succeeded: true, isZero: false)
        #expect(map.hasFreeArea)
        #expect(map.claimCopy(limit: Self.granule)?.range == 0..<Self.granule)
    }

    @Test func `a copy that failed, or a part that was given back, is made again`() throws {
        let map = Self.makeMap(4)
        map.markDirty(0..<map.length)
        var claim = try #require(map.claimCopy(limit: map.length))
        map.shrink(&claim, to: Self.granule)
        #expect(claim.range == 0..<Self.granule)
        #expect(map.claimCopy(limit: Self.granule)?.range == Self.granule..<2 * Self.granule)
        map.finishCopy(claim, succeeded: false, isZero: false)
        #expect(map.claimCopy(limit: map.length)?.range == 2 * Self.granule..<4 * Self.granule)
        #expect(map.claimCopy(limit: map.length)?.range == 0..<Self.granule)
    }

    @Test func `a guest write to both sides cleans whole granules only`() async {
        let map = Self.makeMap(4)
        map.markDirty(0..<map.length)
        let write = await map.beginWrite(Self.granule / 2..<2 * Self.granule)
        map.endWrite(write, reachedBoth: true)
        #expect(map.dirty.snapshot().dirtyGranuleCount == 3)
        let failed = await map.beginWrite(0..<map.length)
        #expect(map.dirty.snapshot().isClean)
        map.endWrite(failed, reachedBoth: false)
        #expect(map.dirty.snapshot().dirtyGranuleCount == 4)
    }

    @Test func `a guest write waits for copies and writes that overlap it`() async throws {
        try await withLoops(1) { loops in
            let map = Self.makeMap(4)
            map.markDirty(0..<Self.granule)
            let copy = try #require(map.claimCopy(limit: Self.granule))
            let order = Locked<[String]>([])
            let task = Task(executorPreference: loops[0]) {
                let claim = await map.beginWrite(100..<200)
                order.withLock { $0.append("write") }
                map.endWrite(claim, reachedBoth: true)
            }
            let other = await map.beginWrite(Self.granule..<Self.granule + 1)
            map.endWrite(other, reachedBoth: true)
            order.withLock { $0.append("copy") }
            map.finishCopy(copy, succeeded: true, isZero: false)
            await task.value
            #expect(order.value == ["copy", "write"])
        }
    }

    @Test func `zeroes of the target are known until something else is written`() async throws {
        let map = Self.makeMap(4)
        #expect(!map.targetIsZero(0..<1))
        map.noteTargetIsZero()
        #expect(map.targetIsZero(0..<map.length))
        let write = await map.beginWrite(Self.granule..<Self.granule + 1)
        map.endWrite(write, reachedBoth: true)
        #expect(!map.targetIsZero(0..<map.length))
        #expect(map.targetIsZero(0..<Self.granule))
        let zeroes = await map.beginWrite(Self.granule - 1..<2 * Self.granule)
        map.endWrite(zeroes, reachedBoth: true, isZero: true)
        #expect(map.targetIsZero(Self.granule..<map.length))
    }

    /// Random claims against a naive model, with the seed in messages.
    @Test(arguments: UInt64(0)..<20)
    func `no two copies of a granule, and nothing dirty is lost`(_ seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let count: Int64 = 40
        let map = Self.makeMap(count)
        var dirty: Set<Int64> = []
        var claims: [MirrorMap.Claim] = []
        func granules(_ range: ByteRange) -> Set<Int64> {
            Set(range.lowerBound / Self.granule..<(range.upperBound + Self.granule - 1) / Self.granule)
        }
        for _ in 0..<400 {
            switch Int.random(in: 0..<4, using: &random) {
            case 0:
                let start = Int64.random(in: 0..<map.length, using: &random)
                let end = min(map.length, start + Int64.random(in: 1...20000, using: &random))
                map.markDirty(start..<end)
                dirty.formUnion(granules(start..<end))
            case 1:
                let taken = claims.reduce(into: Set<Int64>()) { $0.formUnion(granules($1.range)) }
                let limit = Int64.random(in: 1...5, using: &random) * Self.granule
                guard var claim = map.claimCopy(limit: limit) else {
                    #expect(dirty.isSubset(of: taken), "seed \(seed)")
                    continue
                }
                #expect(granules(claim.range).isDisjoint(with: taken), "seed \(seed)")
                #expect(granules(claim.range).isSubset(of: dirty), "seed \(seed)")
                #expect(claim.range.length <= limit, "seed \(seed)")
                if Bool.random(using: &random) { map.shrink(&claim, to: claim.range.lowerBound + Self.granule) }
                dirty.subtract(granules(claim.range))
                claims.append(claim)
            default:
                guard let index = claims.indices.randomElement(using: &random) else { continue }
                let claim = claims.remove(at: index)
                let succeeded = Bool.random(using: &random)
                if !succeeded { dirty.formUnion(granules(claim.range)) }
                map.finishCopy(claim, succeeded: succeeded, isZero: false)
            }
            #expect(map.dirty.snapshot().dirtyGranuleCount == dirty.count, "seed \(seed)")
        }
    }
}
