/// Durations, counted in classes that are at most 1/64 wide.
struct LatencyHistogram {
    private static let precision = 6
    private var classes = [UInt64](repeating: 0, count: 64 << LatencyHistogram.precision)
    private(set) var count: UInt64 = 0
    private var sum: UInt64 = 0
    private(set) var maximum: UInt64 = 0

    /// Adds a duration in nanoseconds.
    mutating func add(_ duration: UInt64) {
        classes[LatencyHistogram.index(of: duration)] += 1
        count += 1
        sum += duration
        maximum = max(maximum, duration)
    }

    /// Nanoseconds.
    var mean: Double { count == 0 ? 0 : Double(sum) / Double(count) }

    /// The nanoseconds that no more than `1 - share` of the durations exceed, rounded up to the class's end.
    func percentile(_ share: Double) -> UInt64 {
        let rank = UInt64((Double(count) * share).rounded(.up))
        var seen: UInt64 = 0
        for (index, number) in classes.enumerated() {
            seen += number
            if seen >= rank, seen > 0 { return min(LatencyHistogram.end(of: index), maximum) }
        }
        return maximum
    }

    private static func index(of duration: UInt64) -> Int {
        let magnitude = 63 - (duration | 1).leadingZeroBitCount
        guard magnitude >= precision else { return Int(duration) }
        let shift = magnitude - precision
        return (shift + 1) << precision + Int(duration >> UInt64(shift)) - 1 << precision
    }

    private static func end(of index: Int) -> UInt64 {
        guard index >= 1 << precision else { return UInt64(index) }
        let shift = index >> precision - 1
        return (UInt64(index & (1 << precision - 1)) + 1 << precision + 1) << UInt64(shift) - 1
    }
}
