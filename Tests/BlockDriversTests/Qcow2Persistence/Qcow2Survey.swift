import Glibc

/// A naive look at a whole image with its snapshots and bitmaps, which knows nothing of the code that is tested.
struct Qcow2Survey {
    struct Snapshot {
        var id: String
        var name: String
        var l1Start: Int
        var l1Count: Int
        var size: Int
    }

    struct Bitmap {
        var name: String
        var flags: UInt32
        var granularity: Int
        var tableStart: Int
        var tableCount: Int
        var isInUse: Bool { flags & 1 != 0 }
    }

    let image: Qcow2ImageBytes
    let snapshots: [Snapshot]
    let bitmaps: [Bitmap]
    /// Where snapshot table and bitmap directory lie.
    private let snapshotTable: Range<Int>
    private let directory: Range<Int>
    /// Where the bitmap directory begins.
    var directoryStart: Int { directory.lowerBound }

    init(_ bytes: [UInt8]) {
        image = Qcow2ImageBytes(bytes)
        (snapshots, snapshotTable) = Self.readSnapshots(image)
        (bitmaps, directory) = Self.readBitmaps(image)
    }

    var isDirty: Bool { image.incompatible & 1 != 0 }
    var size: Int { Int(image.word(24)) }
    private static let offsetMask: UInt64 = 0x00FF_FFFF_FFFF_FE00

    private static func readSnapshots(_ image: Qcow2ImageBytes) -> ([Snapshot], Range<Int>) {
        let start = Int(image.word(64))
        var place = start
        var snapshots: [Snapshot] = []
        for _ in 0..<image.half(60) {
            let (idSize, nameSize) = (Int(image.half(place + 12) >> 16), Int(image.half(place + 12) & 0xFFFF))
            let extra = Int(image.half(place + 36))
            let text = place + 40 + extra
            snapshots.append(
                Snapshot(
                    id: String(decoding: image.bytes[text..<text + idSize], as: UTF8.self),
                    name: String(decoding: image.bytes[text + idSize..<text + idSize + nameSize], as: UTF8.self),
                    l1Start: Int(image.word(place)), l1Count: Int(image.half(place + 8)),
                    size: Int(image.word(place + 48))))
            place = (text + idSize + nameSize + 7) / 8 * 8
        }
        return (snapshots, start..<place)
    }

    private static func readBitmaps(_ image: Qcow2ImageBytes) -> ([Bitmap], Range<Int>) {
        guard image.version >= 3, image.word(88) & 1 != 0 else { return ([], 0..<0) }
        var place = Int(image.half(100))
        while image.half(place) != 0x2385_2875 {
            if image.half(place) == 0 { return ([], 0..<0) }
            place += 8 + (Int(image.half(place + 4)) + 7) / 8 * 8
        }
        let (size, start) = (Int(image.word(place + 16)), Int(image.word(place + 24)))
        var bitmaps: [Bitmap] = []
        var entry = start
        while entry < start + size {
            let nameSize = Int(image.half(entry + 16) & 0xFFFF)
            bitmaps.append(
                Bitmap(
                    name: String(decoding: image.bytes[entry + 24..<entry + 24 + nameSize], as: UTF8.self),
                    flags: image.half(entry + 12), granularity: 1 << Int(image.bytes[entry + 17]),
                    tableStart: Int(image.word(entry)), tableCount: Int(image.half(entry + 8))))
            entry += (24 + nameSize + 7) / 8 * 8
        }
        return (bitmaps, start..<start + size)
    }

    // MARK: Contents

    /// The byte of each cluster of the current disk; 0 for what is not allocated, nil for mixed bytes.
    var content: [UInt8?] { content(l1Start: image.l1Start, l1Count: image.l1Count, size: size) }

    func content(of snapshot: Snapshot) -> [UInt8?] {
        content(l1Start: snapshot.l1Start, l1Count: snapshot.l1Count, size: snapshot.size)
    }

    private func content(l1Start: Int, l1Count: Int, size: Int) -> [UInt8?] {
        let clusterSize = image.clusterSize
        return (0..<size / clusterSize).map { cluster in
            let index = cluster / image.entriesInTable
            guard index < l1Count else { return 0 }
            let table = Int(image.word(l1Start + 8 * index) & Self.offsetMask)
            guard table != 0 else { return 0 }
            let entry = image.word(table + cluster % image.entriesInTable * image.entrySize)
            let host = Int(entry & Self.offsetMask)
            if host == 0 { return 0 }
            guard host + clusterSize <= image.bytes.count else { return nil }
            let isUniform = image.bytes.withUnsafeBytes { bytes in
                guard let base = bytes.baseAddress else { return false }
                return memcmp(base + host, base + host + 1, clusterSize - 1) == 0
            }
            return isUniform ? image.bytes[host] : nil
        }
    }

    /// The dirty granules of a bitmap.
    func granules(of bitmap: Bitmap) -> Set<Int> {
        var found: Set<Int> = []
        let count = (size + bitmap.granularity - 1) / bitmap.granularity
        for index in 0..<bitmap.tableCount {
            let entry = image.word(bitmap.tableStart + 8 * index)
            let host = Int(entry & Self.offsetMask)
            let first = index * image.clusterSize * 8
            for bit in 0..<max(0, min(image.clusterSize * 8, count - first)) {
                let isSet = host == 0 ? entry & 1 == 1 : image.bytes[host + bit / 8] >> UInt8(bit % 8) & 1 == 1
                if isSet { found.insert(first + bit) }
            }
        }
        return found
    }

    // MARK: References

    /// What contradicts: refcounts that are too small, flags that promise too much; and the clusters that leak.
    func findings() -> (errors: [String], leaks: [Int]) {
        var counter = ReferenceCounter(image)
        counter.refer(0..<image.clusterSize, "header")
        counter.refer(
            image.refcountTableStart..<image.refcountTableStart + 8 * image.refcountTableCount, "refcount table")
        for index in 0..<image.refcountTableCount {
            let block = Int(image.word(image.refcountTableStart + 8 * index))
            if block != 0 { counter.refer(block..<block + image.clusterSize, "refcount block \(index)") }
        }
        counter.referTables(image.l1Start, image.l1Count, "active", isActive: true)
        counter.refer(snapshotTable, "snapshot table")
        for snapshot in snapshots {
            counter.referTables(snapshot.l1Start, snapshot.l1Count, "snapshot \(snapshot.id)", isActive: false)
        }
        counter.refer(directory, "bitmap directory")
        for bitmap in bitmaps {
            counter.refer(bitmap.tableStart..<bitmap.tableStart + 8 * bitmap.tableCount, "table of \(bitmap.name)")
            for index in 0..<bitmap.tableCount {
                let host = Int(image.word(bitmap.tableStart + 8 * index) & Self.offsetMask)
                if host != 0 { counter.refer(host..<host + image.clusterSize, "data of \(bitmap.name)") }
            }
        }
        return counter.compare()
    }
}

/// Counts references to clusters.
private struct ReferenceCounter {
    let image: Qcow2ImageBytes
    var errors: [String] = []
    private var references: [Int: UInt64] = [:]
    private var copied: [(cluster: Int, isCopied: Bool, what: String)] = []

    init(_ image: Qcow2ImageBytes) { self.image = image }

    mutating func refer(_ range: Range<Int>, _ what: String) {
        guard !range.isEmpty else { return }
        if range.lowerBound % image.clusterSize != 0 { errors.append("\(what) at \(range.lowerBound) is not aligned") }
        for cluster in range.lowerBound / image.clusterSize...(range.upperBound - 1) / image.clusterSize {
            references[cluster, default: 0] += 1
        }
    }

    mutating func referTables(_ start: Int, _ count: Int, _ what: String, isActive: Bool) {
        let (size, mask) = (image.clusterSize, UInt64(0x00FF_FFFF_FFFF_FE00))
        refer(start..<start + max(1, 8 * count), "L1 table of \(what)")
        for index in 0..<count {
            let l1 = image.word(start + 8 * index)
            let table = Int(l1 & mask)
            guard table != 0 else { continue }
            refer(table..<table + size, "L2 table \(index) of \(what)")
            if isActive { copied.append((table / size, l1 >> 63 == 1, "L2 table \(index)")) }
            for place in 0..<image.entriesInTable {
                let entry = image.word(table + place * image.entrySize)
                if entry >> 62 & 1 == 1 {
                    refer(image.compressedExtent(entry).aligned(to: size), "compressed cluster of \(what)")
                } else if entry & mask != 0 {
                    let host = Int(entry & mask)
                    refer(host..<host + size, "\(index):\(place) of \(what)")
                    if isActive { copied.append((host / size, entry >> 63 == 1, "\(index):\(place)")) }
                }
            }
        }
    }

    func compare() -> (errors: [String], leaks: [Int]) {
        var (errors, leaks) = (errors, [Int]())
        let last = max(references.keys.max() ?? 0, (image.bytes.count + image.clusterSize - 1) / image.clusterSize)
        for cluster in 0...last {
            let (count, wanted) = (image.refcount(cluster), references[cluster] ?? 0)
            if count < wanted { errors.append("cluster \(cluster): refcount \(count), \(wanted) references") }
            if count > wanted { leaks.append(cluster) }
        }
        for (cluster, isCopied, what) in copied where isCopied != (references[cluster] == 1) {
            // Where clusters leak, refcounts are higher than what is counted here.
            if isCopied || image.refcount(cluster) == 1 {
                errors.append("\(what): flag of cluster \(cluster) is wrong")
            }
        }
        return (errors, leaks)
    }
}

extension Range<Int> {
    fileprivate func aligned(to size: Int) -> Range<Int> {
        lowerBound / size * size..<(upperBound + size - 1) / size * size
    }
}
