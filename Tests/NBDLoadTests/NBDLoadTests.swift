import Testing

@testable import nbd_load

@Suite struct PositionsTests {
    private func all(_ positions: Positions) -> [UInt64] {
        var positions = positions
        var steps: [UInt64] = []
        while let step = positions.next() { steps.append(step) }
        return steps
    }

    @Test func `once at random takes every step once, in another order`() {
        for steps: UInt64 in [1, 2, 3, 100, 1001] {
            let taken = all(Positions(steps: steps, isRandom: true, once: true, limit: .max, seed: 7))
            #expect(taken.sorted() == Array(0..<steps))
            if steps >= 100 { #expect(taken != Array(0..<steps)) }
        }
    }

    @Test func `in sequence they start again at the end, until the limit`() {
        #expect(all(Positions(steps: 3, isRandom: false, once: false, limit: 5, seed: 1)) == [0, 1, 2, 0, 1])
        #expect(all(Positions(steps: 3, isRandom: false, once: true, limit: 5, seed: 1)) == [0, 1, 2])
        #expect(all(Positions(steps: 3, isRandom: true, once: true, limit: 2, seed: 1)).count == 2)
    }

    @Test func `at random they stay below the number of steps, and repeat with the seed`() {
        let first = all(Positions(steps: 10, isRandom: true, once: false, limit: 1000, seed: 5))
        #expect(first.allSatisfy { $0 < 10 } && Set(first).count == 10)
        #expect(first == all(Positions(steps: 10, isRandom: true, once: false, limit: 1000, seed: 5)))
    }
}

@Suite struct LatencyHistogramTests {
    @Test func `percentiles are those of the sorted durations, but for a sixty-fourth`() {
        var generator = SplitMix(state: 3)
        var histogram = LatencyHistogram()
        var durations = (0..<10_000).map { _ in generator.next() >> (24 + generator.next() % 40) }
        for duration in durations { histogram.add(duration) }
        durations.sort()
        for share in [0.01, 0.5, 0.9, 0.99, 0.999, 1] {
            let exact = durations[max(0, Int((Double(durations.count) * share).rounded(.up)) - 1)]
            let found = histogram.percentile(share)
            #expect(found >= exact && Double(found) <= Double(exact) * (1 + 1 / 64) + 1)
        }
        #expect(histogram.maximum == durations.last && histogram.count == 10_000)
    }

    @Test func `an empty one has no durations`() {
        let histogram = LatencyHistogram()
        #expect(histogram.mean == 0 && histogram.percentile(0.99) == 0)
    }
}

@Suite struct BytesTests {
    @Test(arguments: [("0", 0), ("4096", 4096), ("4k", 4096), ("1M", 1 << 20), ("16g", 16 << 30), ("2T", 2 << 40)])
    func `sizes have suffixes`(text: String, count: Int) {
        #expect(Bytes(argument: text)?.count == count)
    }

    @Test(arguments: ["", "k", "-1", "4x", "9999999999999t", "1.5k"])
    func `what is no size is refused`(text: String) {
        #expect(Bytes(argument: text) == nil)
    }
}
