import StorageTestSupport
import Testing

@testable import BlockGraph

@Suite struct HierarchicalBitmapTests {
    @Test func `a new bitmap is clean and takes no memory`() {
        let bitmap = HierarchicalBitmap(length: 64 << 40, granularity: 65536)
        #expect(bitmap.dirtyByteCount == 0)
        #expect(bitmap.memoryFootprint == 0)
        #expect(bitmap.nextDirty(from: 0) == nil)
        #expect(bitmap.nextZero(from: 5) == 5)
        #expect(bitmap.status(at: 0, upTo: .max) == (false, 64 << 40))
    }

    @Test func `an all-dirty bitmap of a huge disk takes next to no memory`() {
        var bitmap = HierarchicalBitmap(length: 64 << 40, granularity: 65536)
        bitmap.setAll()
        #expect(bitmap.dirtyByteCount == 64 << 40)
        #expect(bitmap.memoryFootprint < 4096)
        #expect(bitmap.nextZero(from: 0) == nil)
        bitmap.reset(covering: 5 << 30..<5 << 30 + 1)
        #expect(bitmap.nextZero(from: 0) == 5 << 30)
        #expect(bitmap.dirtyByteCount == 64 << 40 - 65536)
        #expect(bitmap.memoryFootprint < 8192)
    }

    @Test(arguments: [1000, 100_000]) func `bits anywhere on a huge disk take little memory`(count: Int) {
        var random = SeededGenerator(seed: 1)
        var bitmap = HierarchicalBitmap(length: 64 << 40, granularity: 65536)
        for _ in 0..<count {
            let offset = Int64.random(in: 0..<bitmap.length, using: &random)
            bitmap.set(offset..<offset + 1)
        }
        #expect(bitmap.memoryFootprint < 600_000 + count * 60)
        bitmap.reset(covering: 0..<bitmap.length)
        #expect(bitmap.memoryFootprint == 0)
    }

    @Test func `a granule that the end of the disk cuts counts whole`() {
        var bitmap = HierarchicalBitmap(length: (1 << 20) + 512, granularity: 65536)
        bitmap.setAll()
        #expect(bitmap.dirtyByteCount == 1_114_112)
        #expect(Array(bitmap.dirtyAreas) == [0..<1_049_088])
    }

    @Test func `an empty disk has neither dirty nor clean bytes`() {
        var bitmap = HierarchicalBitmap(length: 0, granularity: 65536)
        bitmap.setAll()
        bitmap.set(0..<10)
        #expect(bitmap.isClean)
        #expect(bitmap.nextZero(from: 0) == nil)
        #expect(bitmap.serializedSize == 8)
    }

    @Test func `granularity 1 on the largest disk works`() {
        var bitmap = HierarchicalBitmap(length: .max, granularity: 1)
        let nearEnd: Range<Int64> = .max - 3 ..< .max - 1
        bitmap.set(nearEnd)
        #expect(bitmap.nextDirtyArea(from: 0) == nearEnd)
        bitmap.setAll()
        #expect(bitmap.dirtyByteCount == .max)
        #expect(bitmap.nextZero(from: 0) == nil)
        bitmap.reset(contained: 1 << 62..<(1 << 62) + 1)
        #expect(bitmap.nextZero(from: 0) == 1 << 62)
        #expect(bitmap._invariantsHold())
        #expect(bitmap.memoryFootprint < 65536)
    }

    @Test func `the largest granularities do not overflow`() {
        for granularity: Int64 in [1 << 31, 1 << 62] {
            var bitmap = HierarchicalBitmap(length: .max, granularity: granularity)
            bitmap.set(.max - 1 ..< .max)
            #expect(bitmap.isDirty(at: .max - 1))
            bitmap.reset(contained: 1 ..< .max)
            #expect(bitmap.isClean)
            bitmap.setAll()
            #expect(bitmap.dirtyByteCount == .max)
        }
    }

    @Test func `reset of contained granules spares those that are cut, except by the end of the disk`() {
        var bitmap = HierarchicalBitmap(length: 2500, granularity: 1024)
        bitmap.setAll()
        bitmap.reset(contained: 1..<2047)
        #expect(bitmap.dirtyGranuleCount == 3)
        bitmap.reset(contained: 1023..<2048)
        #expect(Array(bitmap.dirtyAreas) == [0..<1024, 2048..<2500])
        bitmap.reset(contained: 2048..<2500)
        #expect(Array(bitmap.dirtyAreas) == [0..<1024])
        bitmap.reset(covering: 1023..<1024)
        #expect(bitmap.isClean)
    }

    @Test func `a last granule that was dirty stays dirty when the disk grows`() {
        var bitmap = HierarchicalBitmap(length: 1000, granularity: 512)
        bitmap.setAll()
        bitmap.truncate(to: 5000)
        #expect(Array(bitmap.dirtyAreas) == [0..<1024])
        bitmap.truncate(to: 512)
        bitmap.truncate(to: 5000)
        #expect(Array(bitmap.dirtyAreas) == [0..<512])
    }

    @Test func `a bitmap can grow to another height, and merge with one of another height`() {
        var tall = HierarchicalBitmap(length: 4096 * 512, granularity: 512)
        tall.setAll()
        tall.truncate(to: 1 << 40)
        #expect(tall._invariantsHold())
        tall.set((1 << 40) - 1..<1 << 40)
        tall.truncate(to: 4096 * 512)
        var low = HierarchicalBitmap(length: 4096 * 512, granularity: 512)
        low.set(0..<1)
        #expect(low.merged(with: tall) == tall)
        low.merge(tall)
        #expect(low._invariantsHold())
        #expect(low == tall.merged(with: low))
    }

    @Test func `copies share memory until they change`() {
        var bitmap = HierarchicalBitmap(length: 1 << 40, granularity: 65536)
        for offset in stride(from: Int64(0), to: 1 << 40, by: 1 << 30) { bitmap.set(offset..<offset + 1) }
        let copy = bitmap
        bitmap.clear()
        #expect(copy.dirtyGranuleCount == 1024)
        var second = copy
        second.set(70000..<70001)
        #expect(copy.dirtyGranuleCount == 1024)
        #expect(second.dirtyGranuleCount == 1025)
    }

    /// Digests that qemu-storage-daemon 11.1.3 gave for bitmaps of such disks: empty, after three writes, and after
    /// all was written.
    @Test(
        arguments: [
            (
                1_048_576, 512, "5341e6b2646979a70e57653007a1f310169421ec9bdd9f1a5648f75ade005af1",
                "e75f9980068199d613a4ef8172d39e501c2805fa53eb36c1f01224ef0ea35ae4",
                "3d6876a0146de8576eb2395a858de1213d1b92c65b779df3a331cfd5a4584546"
            ),
            (
                1_049_088, 4096, "2c34ce1df23b838c5abf2a7f6437cca3d3067ed509ff25f11df6b11b582b51eb",
                "c5182d6f2d9bc33b8e056a767e2fdf98d4035ca6662f8784bf1a8397fa1b2d16",
                "ea635f200454b259d53f0ad67a138c911596d326e1fe3567a15a157f63da7b89"
            ),
            (
                1_049_088, 1 << 20, "af5570f5a1810b7af78caf4bc70a660f0df51e42baf91d4de5b2328de0e83dfc",
                "7c9fa136d4413fa6173637e883b6998d32e1d675f88cddff9dcbcf331820f4b8",
                "35be322d094f9d154a8aba4733b8497f180353bd7ae7b0a15f90b586b549f28b"
            ),
            (
                805_310_464, 512, "fc9c0b6ca6068001535269f69a64d63d3901c0554473a0594308e9a921afff78",
                "ae5020868b7c057f7b4f08ec46e8b3b26a9feecf6fd2e6e10565c3d3cb3acdd3",
                "723c03b51beb541000f198509489db11a37a44c9d1fb94cd258c2a63727ff564"
            ),
        ] as [(Int64, Int64, String, String, String)])
    func `the digest is QEMU's`(length: Int64, granularity: Int64, empty: String, some: String, full: String) {
        var bitmap = HierarchicalBitmap(length: length, granularity: granularity)
        #expect(bitmap.sha256() == empty)
        bitmap.set(0..<512)
        bitmap.set(69632..<70144)
        bitmap.set(524288..<594432)
        #expect(bitmap.sha256() == some)
        bitmap.setAll()
        #expect(bitmap.sha256() == full)
    }

    @Test func `the digest of an empty disk is that of one word`() {
        let bitmap = HierarchicalBitmap(length: 0, granularity: 65536)
        #expect(bitmap.sha256() == "af5570f5a1810b7af78caf4bc70a660f0df51e42baf91d4de5b2328de0e83dfc")
    }
}
