@testable import BlockGraph

/// The naive bitmap to compare with: one `Bool` for each granule.
struct BitmapModel {
    private(set) var length: Int64
    let granularity: Int64
    private(set) var granules: [Bool]

    init(length: Int64, granularity: Int64) {
        self.length = length
        self.granularity = granularity
        granules = Array(repeating: false, count: Int((length + granularity - 1) / granularity))
    }

    func isDirty(_ byte: Int64) -> Bool { byte >= 0 && byte < length && granules[Int(byte / granularity)] }

    mutating func set(_ range: Range<Int64>) {
        for index in touched(by: range) { granules[index] = true }
    }

    mutating func resetCovering(_ range: Range<Int64>) {
        for index in touched(by: range) { granules[index] = false }
    }

    mutating func resetContained(_ range: Range<Int64>) {
        for index in touched(by: range) {
            let bytes = extent(index)
            if range.lowerBound <= bytes.lowerBound, range.upperBound >= bytes.upperBound { granules[index] = false }
        }
    }

    mutating func truncate(to newLength: Int64) {
        let count = Int((newLength + granularity - 1) / granularity)
        granules = Array(granules.prefix(count)) + Array(repeating: false, count: max(count - granules.count, 0))
        length = newLength
    }

    mutating func merge(_ other: BitmapModel) {
        for index in other.granules.indices where other.granules[index] { set(other.extent(index)) }
    }

    func next(_ dirty: Bool, _ range: Range<Int64>) -> Int64? {
        for index in touched(by: range) where granules[index] == dirty {
            return max(extent(index).lowerBound, range.lowerBound)
        }
        return nil
    }

    /// The dirty runs, in bytes.
    var areas: [Range<Int64>] {
        var areas: [Range<Int64>] = []
        var index = 0
        while let start = granules[index...].firstIndex(of: true) {
            index = granules[start...].firstIndex(of: false) ?? granules.count
            areas.append(Int64(start) * granularity..<min(Int64(index) * granularity, length))
        }
        return areas
    }

    var serialized: [UInt8] {
        var bytes = [UInt8](repeating: 0, count: max((granules.count + 63) / 64, 1) * 8)
        for index in granules.indices where granules[index] { bytes[index / 8] |= 1 << UInt8(index % 8) }
        return bytes
    }

    private func extent(_ index: Int) -> Range<Int64> {
        let start = Int64(index) * granularity
        return start..<min(start + granularity, length)
    }

    private func touched(by range: Range<Int64>) -> Range<Int> {
        let (low, high) = (max(range.lowerBound, 0), min(range.upperBound, length))
        return low < high ? Int(low / granularity)..<Int((high - 1) / granularity) + 1 : 0..<0
    }
}
