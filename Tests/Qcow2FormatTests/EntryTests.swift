import Qcow2Format
import StorageTestSupport
import Testing

/// L1 and L2 entries, compressed descriptors, refcounts, and the geometry.
@Suite struct EntryTests {
    static let standard = Qcow2Geometry(clusterBits: 16)
    static let extended = Qcow2Geometry(clusterBits: 16, hasSubclusters: true)
    static let dataFile = Qcow2Geometry(clusterBits: 16, hasDataFile: true)

    @Test func `kinds of standard entries`() {
        let g = Self.standard
        #expect(L2Entry(rawValue: 0).kind(g) == .unallocated)
        #expect(L2Entry(rawValue: 1).kind(g) == .zeroPlain)
        #expect(L2Entry(rawValue: 0x8000_0000_0005_0001).kind(g) == .zeroAllocated)
        #expect(L2Entry(rawValue: 0x8000_0000_0005_0000).kind(g) == .normal)
        #expect(L2Entry(rawValue: 0x8000_0000_0005_0000).hostOffset == 0x50000)
        #expect(L2Entry(rawValue: 0x4000_0000_0005_0123).kind(g) == .compressed)
        #expect(L2Entry(rawValue: 1 << 63).kind(g) == .unallocated)
        #expect(L2Entry(rawValue: 1 << 63).kind(Self.dataFile) == .normal)
        #expect(L2Entry(rawValue: 1 << 63 | 1).kind(Self.dataFile) == .zeroAllocated)
        #expect(L2Entry(rawValue: 1).kind(Self.extended) == .unallocated)
        #expect(L2Entry(rawValue: 0x8000_0000_0005_0000).subclusterRun(at: 0, g).count == 1)
    }

    @Test func `runs of subclusters agree with looking at each one`() {
        let seed: UInt64 = 7
        var random = SeededGenerator(seed: seed)
        for _ in 0..<5000 {
            var bits = random.next()
            if Bool.random(using: &random) { bits &= ~(bits << 32) }
            if Bool.random(using: &random) { bits |= random.next() | 0xffff }
            let raw: UInt64 = [0, 0x8000_0000_0005_0000, 0x4000_0000_0005_0000].randomElement(using: &random) ?? 0
            let entry = L2Entry(rawValue: raw, subclusters: bits)
            for index in 0..<32 {
                let kind = entry.subclusterKind(index, Self.extended)
                var end = index
                while end < 32, entry.subclusterKind(end, Self.extended) == kind { end += 1 }
                let run = entry.subclusterRun(at: index, Self.extended)
                #expect(run == Qcow2SubclusterRun(kind: kind, count: end - index), "seed \(seed) \(bits)")
            }
        }
    }

    @Test func `changes of subclusters change the asked ones only`() {
        var random = SeededGenerator(seed: 8)
        for _ in 0..<2000 {
            let bits = random.next()
            let old = L2Entry(rawValue: 0x50000, subclusters: bits & ~(bits << 32))
            let first = Int.random(in: 0..<32, using: &random)
            let count = Int.random(in: 0...32 - first, using: &random)
            var allocated = old
            var zero = old
            var unallocated = old
            allocated.setAllocated(first: first, count: count)
            zero.setZero(first: first, count: count)
            unallocated.setUnallocated(first: first, count: count)
            for index in 0..<32 {
                let inside = index >= first && index < first + count
                let before = old.subclusterKind(index, Self.extended)
                #expect(allocated.subclusterKind(index, Self.extended) == (inside ? .normal : before))
                #expect(zero.subclusterKind(index, Self.extended) == (inside ? .zeroAllocated : before))
                #expect(unallocated.subclusterKind(index, Self.extended) == (inside ? .unallocatedAllocated : before))
            }
        }
    }

    @Test func `entries are stored big-endian at their width`() {
        var table = [UInt8](repeating: 0xee, count: 64)
        let entry = L2Entry(rawValue: 0x0102_0304_0506_0708, subclusters: 0x1112_1314_1516_1718)
        table.withUnsafeMutableBytes { entry.store(in: $0, at: 2, geometry: Self.extended) }
        #expect(
            Array(table[31...48]) == [
                0xee, 1, 2, 3, 4, 5, 6, 7, 8, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0xee,
            ])
        #expect(table.withUnsafeBytes { L2Entry(in: $0, at: 2, geometry: Self.extended) } == entry)
        #expect(table.withUnsafeBytes { L2Entry(in: $0, at: 4, geometry: Self.standard) }.rawValue == entry.rawValue)
    }

    @Test(arguments: 9...21) func `compressed descriptors round trip`(bits: Int) {
        let geometry = Qcow2Geometry(clusterBits: bits)
        #expect(geometry.compressedSizeShift == UInt64(62 - (bits - 8)))
        var random = SeededGenerator(seed: UInt64(bits))
        for _ in 0..<200 {
            let offset = Int64.random(in: 0..<geometry.compressedOffsetLimit, using: &random)
            let size = Int64.random(in: 1...geometry.clusterSize, using: &random)
            guard let entry = L2Entry(compressedAt: offset, byteCount: size, geometry) else {
                // Only a size that crosses one sector more than the descriptor counts is refused.
                #expect((offset % 512 + size + 511) / 512 > 1 << Int64(bits - 8))
                continue
            }
            let extent = entry.compressedExtent(geometry)
            #expect(entry.isCompressed && !entry.isCopied && !entry.hasReservedBits(geometry))
            #expect(extent.offset == offset)
            #expect(extent.byteCount >= size && extent.byteCount < size + 512 && extent.end % 512 == 0)
        }
        #expect(L2Entry(compressedAt: geometry.compressedOffsetLimit, byteCount: 1, geometry) == nil)
        #expect(L2Entry(compressedAt: 0, byteCount: 0, geometry) == nil)
    }

    @Test(arguments: 0...6) func `refcounts of each width`(order: Int) {
        var random = SeededGenerator(seed: UInt64(order))
        let geometry = Qcow2Geometry(clusterBits: 9, refcountOrder: order)
        var block = [UInt8](repeating: 0, count: 512)
        var model = [UInt64](repeating: 0, count: geometry.refcountBlockEntryCount)
        for _ in 0..<5000 {
            let index = Int.random(in: 0..<model.count, using: &random)
            model[index] = random.next() & geometry.maximumRefcount
            block.withUnsafeMutableBytes { RefcountBlock.setRefcount(model[index], in: $0, at: index, order: order) }
        }
        for (index, value) in model.enumerated() {
            #expect(block.withUnsafeBytes { RefcountBlock.refcount(in: $0, at: index, order: order) } == value)
        }
        #expect(RefcountBlock.byteCount(of: model.count, order: order) == 512)
    }

    @Test func `narrow refcounts start at the least significant bit`() {
        var block: [UInt8] = [0, 0]
        block.withUnsafeMutableBytes { RefcountBlock.setRefcount(1, in: $0, at: 1, order: 0) }
        #expect(block == [2, 0])
        block.withUnsafeMutableBytes { RefcountBlock.setRefcount(3, in: $0, at: 5, order: 1) }
        #expect(block == [2, 0x0c])
        block.withUnsafeMutableBytes { RefcountBlock.setRefcount(9, in: $0, at: 3, order: 2) }
        #expect(block == [2, 0x9c])
    }

    @Test(arguments: [9, 12, 16, 21]) func `conversions of offsets follow the formulas`(bits: Int) {
        var random = SeededGenerator(seed: UInt64(bits))
        for subclusters in [false, true] where bits >= 14 || !subclusters {
            let g = Qcow2Geometry(clusterBits: bits, refcountOrder: 4, hasSubclusters: subclusters)
            let entries = g.clusterSize / (subclusters ? 16 : 8)
            #expect(g.l2EntryCount == entries)
            #expect(g.refcountBlockEntryCount == g.clusterSize * 8 / 16)
            for _ in 0..<500 {
                let offset = Int64.random(in: 0...Int64.max, using: &random)
                let cluster = offset / g.clusterSize
                #expect(Int64(g.l2Index(of: offset)) == cluster % entries)
                #expect(Int64(g.l1Index(of: offset)) == cluster / entries)
                #expect(
                    g.guestOffset(l1Index: g.l1Index(of: offset), l2Index: g.l2Index(of: offset)) == cluster
                        * g.clusterSize)
                #expect(Int64(g.refcountBlockIndex(of: offset)) == cluster % Int64(g.refcountBlockEntryCount))
                #expect(Int64(g.refcountTableIndex(of: offset)) == cluster / Int64(g.refcountBlockEntryCount))
                #expect(Int64(g.subclusterIndex(of: offset)) == offset % g.clusterSize / g.subclusterSize)
                #expect(g.clusterStart(offset) + g.offsetInCluster(offset) == offset)
                #expect(g.clusterEnd(offset) >= 0)
            }
            #expect(g.l1EntryCount(forVirtualSize: 0) == 0)
            #expect(g.l1EntryCount(forVirtualSize: 1) == 1)
            #expect(g.l1EntryCount(forVirtualSize: g.l2Coverage) == 1)
            #expect(g.l1EntryCount(forVirtualSize: g.l2Coverage + 1) == 2)
            #expect(g.clusterCount(0) == 0)
            #expect(g.clusterCount(g.clusterSize + 1) == 2)
        }
    }

    @Test func `L1 and refcount table entries`() {
        let entry = L1Entry(offset: 0x3_0000, isCopied: true)
        #expect(entry.rawValue == 0x8000_0000_0003_0000)
        #expect(entry.offset == 0x30000 && entry.isCopied && !entry.hasReservedBits)
        #expect(L1Entry(rawValue: 1).hasReservedBits && L1Entry(rawValue: 1 << 56).hasReservedBits)
        #expect(RefcountTableEntry(rawValue: 0x1_0001).hasReservedBits)
        #expect(RefcountTableEntry(rawValue: 1 << 63).offset == nil)
        #expect(RefcountTableEntry(offset: 0x20000).offset == 0x20000)
    }
}
