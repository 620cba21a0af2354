/// The bytes of small images, made and looked at without the code that is tested.
struct Qcow2ImageBytes {
    var bytes: [UInt8]

    /// How an image is laid out.
    struct Shape: Sendable {
        var version: UInt32 = 3
        var clusterBits = 12
        var refcountOrder = 4
        var isExtended = false
        var isLazy = false
        var clusterCount = 1000
        /// The clusters of the refcount table.
        var refcountTableClusters = 1

        var clusterSize: Int { 1 << clusterBits }
        var entrySize: Int { isExtended ? 16 : 8 }
        var entriesInTable: Int { clusterSize / entrySize }
        var l1Count: Int { (clusterCount + entriesInTable - 1) / entriesInTable }
        var refcountsInBlock: Int { (clusterSize * 8) >> refcountOrder }
    }

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// An empty image: header, refcount table, one refcount block, L1 table.
    init(_ shape: Shape) {
        let size = shape.clusterSize
        let tableStart = size
        let blockStart = tableStart + shape.refcountTableClusters * size
        let l1Start = blockStart + size
        let l1Clusters = (8 * shape.l1Count + size - 1) / size
        bytes = [UInt8](repeating: 0, count: l1Start + l1Clusters * size)
        store(UInt32(0x5146_49FB), at: 0)
        store(shape.version, at: 4)
        store(UInt32(shape.clusterBits), at: 20)
        store(UInt64(shape.clusterCount * size), at: 24)
        store(UInt32(shape.l1Count), at: 36)
        store(UInt64(l1Start), at: 40)
        store(UInt64(tableStart), at: 48)
        store(UInt32(shape.refcountTableClusters), at: 56)
        if shape.version >= 3 {
            store(UInt64(shape.isExtended ? 16 : 0), at: 72)
            store(UInt64(shape.isLazy ? 1 : 0), at: 80)
            store(UInt32(shape.refcountOrder), at: 96)
            store(UInt32(104), at: 100)
        }
        store(UInt64(blockStart), at: tableStart)
        for cluster in 0..<l1Start / size + l1Clusters { setRefcount(1, ofCluster: cluster) }
    }

    func word(_ offset: Int) -> UInt64 {
        guard offset >= 0, offset + 8 <= bytes.count else { return 0 }
        return bytes.withUnsafeBytes { UInt64(bigEndian: $0.loadUnaligned(fromByteOffset: offset, as: UInt64.self)) }
    }

    func half(_ offset: Int) -> UInt32 { UInt32(truncatingIfNeeded: word(offset) >> 32) }

    mutating func store<T: FixedWidthInteger>(_ value: T, at offset: Int) {
        withUnsafeBytes(of: value.bigEndian) { source in
            for (index, byte) in source.enumerated() { bytes[offset + index] = byte }
        }
    }

    // MARK: Fields

    var version: UInt32 { half(4) }
    var clusterBits: Int { Int(half(20)) }
    var clusterSize: Int { 1 << clusterBits }
    var l1Count: Int { Int(half(36)) }
    var l1Start: Int { Int(word(40)) }
    var refcountTableStart: Int { Int(word(48)) }
    var refcountTableCount: Int { Int(half(56)) * clusterSize / 8 }
    var incompatible: UInt64 { version >= 3 ? word(72) : 0 }
    var refcountBits: Int { version >= 3 ? 1 << Int(half(96)) : 16 }
    var isExtended: Bool { incompatible & 16 != 0 }
    var hasDataFile: Bool { incompatible & 4 != 0 }
    var entrySize: Int { isExtended ? 16 : 8 }
    var entriesInTable: Int { clusterSize / entrySize }

    // MARK: Refcounts

    private func refcountPlace(_ cluster: Int) -> (byte: Int, shift: Int)? {
        let inBlock = clusterSize * 8 / refcountBits
        guard cluster / inBlock < refcountTableCount else { return nil }
        let block = Int(word(refcountTableStart + 8 * (cluster / inBlock)))
        guard block != 0 else { return nil }
        let bit = cluster % inBlock * refcountBits
        return (block + bit / 8, bit % 8)
    }

    func refcount(_ cluster: Int) -> UInt64 {
        guard let place = refcountPlace(cluster), place.byte + 8 <= bytes.count else { return 0 }
        if refcountBits < 8 {
            return UInt64(bytes[place.byte] >> UInt8(place.shift)) & ((1 << UInt64(refcountBits)) - 1)
        }
        // What lies behind the refcount is shifted out.
        return word(place.byte) >> UInt64(64 - refcountBits)
    }

    mutating func setRefcount(_ value: UInt64, ofCluster cluster: Int) {
        guard let place = refcountPlace(cluster) else { return }
        if refcountBits < 8 {
            let mask = UInt8((1 << refcountBits) - 1) << UInt8(place.shift)
            bytes[place.byte] = bytes[place.byte] & ~mask | UInt8(value) << UInt8(place.shift)
        } else {
            for index in 0..<refcountBits / 8 {
                bytes[place.byte + index] = UInt8(
                    truncatingIfNeeded: value >> UInt64(8 * (refcountBits / 8 - 1 - index)))
            }
        }
    }

    // MARK: Mapping

    /// The entry of a guest cluster, and its second half; nil where there is no L2 table.
    func entry(_ guestCluster: Int) -> (UInt64, UInt64)? {
        let index = guestCluster / entriesInTable
        guard index < l1Count else { return nil }
        let table = Int(word(l1Start + 8 * index) & 0x00FF_FFFF_FFFF_FE00)
        guard table != 0 else { return nil }
        let place = table + guestCluster % entriesInTable * entrySize
        return (word(place), isExtended ? word(place + 8) : 0)
    }

    /// The host bytes of compressed data.
    func compressedExtent(_ entry: UInt64) -> Range<Int> { Self.compressedExtent(entry, clusterBits: clusterBits) }

    static func compressedExtent(_ entry: UInt64, clusterBits: Int) -> Range<Int> {
        let x = UInt64(70 - clusterBits)
        let offset = entry & ((1 << x) - 1)
        let sectors = (entry & ((1 << 62) - 1)) >> x
        return Int(offset)..<Int((offset & ~511) + (sectors + 1) * 512)
    }
}

/// What a naive look at a whole image finds.
struct Qcow2Findings: CustomStringConvertible {
    /// Contradictions that lose data sooner or later.
    var errors: [String] = []
    /// Clusters that nothing refers to, but that are not free.
    var leaks: [Int] = []

    var description: String { "errors \(errors), leaks \(leaks)" }

    /// Counts all references to clusters and compares. `ignoresRefcounts`: for an image with the dirty bit.
    init(_ image: Qcow2ImageBytes, ignoresRefcounts: Bool = false) {
        let size = image.clusterSize
        let limit = 1 << 20
        var references = [UInt64](repeating: 0, count: image.bytes.count / size + 2)
        func count(_ cluster: Int) {
            guard cluster < limit else { return errors.append("a reference to cluster \(cluster)") }
            if cluster >= references.count { references += Array(repeating: 0, count: cluster + 1 - references.count) }
            references[cluster] += 1
        }
        var copied: [(cluster: Int, isCopied: Bool, what: String)] = []
        func refer(_ range: Range<Int>, _ what: String) {
            if range.lowerBound % size != 0 { errors.append("\(what) at \(range.lowerBound) is not aligned") }
            guard !range.isEmpty else { return }
            for cluster in range.lowerBound / size...(range.upperBound - 1) / size {
                count(cluster)
            }
        }
        refer(0..<size, "header")
        refer(image.refcountTableStart..<image.refcountTableStart + 8 * image.refcountTableCount, "refcount table")
        for index in 0..<image.refcountTableCount {
            let block = Int(image.word(image.refcountTableStart + 8 * index))
            if block != 0 { refer(block..<block + size, "refcount block") }
        }
        refer(image.l1Start..<image.l1Start + 8 * image.l1Count, "L1 table")
        for index in 0..<image.l1Count {
            let l1 = image.word(image.l1Start + 8 * index)
            let table = Int(l1 & 0x00FF_FFFF_FFFF_FE00)
            guard table != 0 else { continue }
            refer(table..<table + size, "L2 table")
            copied.append((table / size, l1 >> 63 == 1, "L2 table"))
            for place in 0..<image.entriesInTable {
                let entry = image.word(table + place * image.entrySize)
                if entry >> 62 & 1 == 1 {
                    let extent = image.compressedExtent(entry)
                    for cluster in extent.lowerBound / size...(extent.upperBound - 1) / size { count(cluster) }
                } else if entry & 0x00FF_FFFF_FFFF_FE00 != 0 {
                    let offset = Int(entry & 0x00FF_FFFF_FFFF_FE00)
                    refer(offset..<offset + size, "guest cluster")
                    copied.append((offset / size, entry >> 63 == 1, "guest cluster"))
                }
            }
        }
        guard !ignoresRefcounts else { return }
        for (cluster, wanted) in references.enumerated() {
            let count = image.refcount(cluster)
            if count < wanted { errors.append("cluster \(cluster): refcount \(count), \(wanted) references") }
            if count > wanted { leaks.append(cluster) }
        }
        for (cluster, isCopied, what) in copied where isCopied && cluster < limit && references[cluster] != 1 {
            errors.append("\(what): the cluster \(cluster) is not its own")
        }
    }
}
