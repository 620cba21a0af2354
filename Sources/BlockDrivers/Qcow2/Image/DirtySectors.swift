/// The pieces of a table in memory that differ from the disk, by sectors of 512 bytes: 64 entries of 8 bytes.
struct DirtySectors: Sendable {
    /// The entries of a sector.
    static let entryCount = 64

    private(set) var sectors: Set<Int> = []

    var isEmpty: Bool { sectors.isEmpty }

    /// The bytes of all dirty sectors.
    var byteCount: Int { sectors.count * 512 }

    mutating func mark(entry index: Int) { sectors.insert(index / Self.entryCount) }

    mutating func formUnion(_ other: DirtySectors) { sectors.formUnion(other.sectors) }

    /// Takes all out.
    mutating func take() -> DirtySectors {
        defer { sectors = [] }
        return self
    }

    /// The entries of each run of dirty sectors, within a table of `count` entries.
    func runs(count: Int) -> [Range<Int>] {
        var runs: [Range<Int>] = []
        for sector in sectors.sorted() {
            let range = sector * Self.entryCount..<min(count, (sector + 1) * Self.entryCount)
            guard !range.isEmpty else { continue }
            if let last = runs.last, last.upperBound == range.lowerBound {
                runs[runs.count - 1] = last.lowerBound..<range.upperBound
            } else {
                runs.append(range)
            }
        }
        return runs
    }
}
