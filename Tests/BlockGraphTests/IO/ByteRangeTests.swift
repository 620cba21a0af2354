import BlockGraph
import Testing

@Suite struct ByteRangeTests {
    @Test func `offset and count make a range only where it fits`() {
        #expect(ByteRange(offset: 5, count: 10) == 5..<15)
        #expect(ByteRange(offset: 0, count: 0) == 0..<0)
        #expect(ByteRange(offset: -1, count: 2) == nil)
        #expect(ByteRange(offset: 1, count: -1) == nil)
        #expect(ByteRange(offset: .max, count: 0) == .max ..< .max)
        #expect(ByteRange(offset: .max, count: 1) == nil)
        #expect(ByteRange(offset: 1, count: .max) == nil)
    }

    @Test func `alignment outward and inward, with the largest numbers`() {
        #expect((1..<511 as ByteRange).aligned(outwardTo: 512) == 0..<512)
        #expect((512..<1024 as ByteRange).aligned(outwardTo: 512) == 512..<1024)
        #expect((1..<1023 as ByteRange).aligned(inwardTo: 512).isEmpty)
        #expect((511..<1025 as ByteRange).aligned(inwardTo: 512) == 512..<1024)
        #expect((0..<Int64.max).aligned(outwardTo: 4096).upperBound == Int64.max - 4095)
        #expect((Int64.max - 1..<Int64.max).aligned(inwardTo: 4096).isEmpty)
        #expect((7..<9 as ByteRange).isAligned(to: 1))
        #expect(!(7..<512 as ByteRange).isAligned(to: 512))
    }

    @Test func `pieces cover the range without gaps`() {
        for (range, limit) in [(0..<10, 3), (5..<6, 1), (5..<5, 4), (100..<1000, 1000), (7..<4103, 4096)] {
            let range = Int64(range.lowerBound)..<Int64(range.upperBound)
            let pieces = Array(range.pieces(ofAtMost: Int64(limit)))
            #expect(pieces.allSatisfy { !$0.isEmpty && $0.length <= limit })
            #expect(pieces.reduce(0) { $0 + $1.length } == range.length)
            for (a, b) in zip(pieces, pieces.dropFirst()) { #expect(a.upperBound == b.lowerBound) }
        }
        let last = Array((Int64.max - 10..<Int64.max).pieces(ofAtMost: 1 << 30))
        #expect(last == [Int64.max - 10..<Int64.max])
        #expect(Array((Int64.max - 10..<Int64.max).pieces(ofAtMost: 4)).count == 3)
    }
}
