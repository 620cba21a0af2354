import BlockGraph
import IOLoop
import Qcow2Format
import Synchronization

extension Qcow2Image {
    /// Checks that a write does not hit a structure of the image, as far as `overlap-check` says.
    ///
    /// To be called before writing to host offsets in the image file that were allocated or read from a table just now.
    /// Nothing is suspended where all is well, unless inactive L2 tables are checked.
    ///
    /// - Parameters:
    ///   - range: the host bytes, which are in the image file.
    ///   - kinds: the structures that may be hit, because they are what is written.
    /// Errors: EIO where the write would hit a structure, which is reported; the file's.
    public func checkOverlap(
        of range: ByteRange, ignoring kinds: Qcow2OverlapChecks = []
    ) async throws(Errno) {
        let (hit, checksInactiveL2) = tables.withLock { tables in
            let checks = (tables.configuration.overlapCheck ?? .cached).subtracting(kinds)
            return (tables.structure(in: range, checks), checks.contains(.inactiveL2) && !tables.inactiveL1.isEmpty)
        }
        var name = hit
        if name == nil, checksInactiveL2, try await hitsInactiveL2(range) { name = "inactive L2 table" }
        guard let name else { return }
        throw await reportCorruption(
            "Preventing invalid write on metadata (overlaps with \(name))", range: range)
    }

    /// Tells where the snapshot table and the L1 tables of snapshots lie, so that writes are kept off them.
    public func setSnapshotTables(_ table: ByteRange?, l1Tables: [ByteRange]) {
        tables.withLock { tables in
            tables.snapshotTable = table
            tables.inactiveL1 = l1Tables
        }
    }

    /// Whether the range has clusters of L2 tables of snapshots, whose L1 tables are read for it.
    private func hitsInactiveL2(_ range: ByteRange) async throws(Errno) -> Bool {
        let l1Tables = tables.withLock { $0.inactiveL1 }
        for table in l1Tables where !table.isEmpty {
            let buffer = BufferPool.shared.take(count: Int(table.length))
            defer { BufferPool.shared.give(buffer) }
            try await file.node.read(table, into: buffer)
            for index in 0..<buffer.count / 8 {
                let offset = Qcow2Layout.l1Offset(buffer.word(at: 8 * index))
                if offset != 0, range.overlaps(offset..<offset + layout.clusterSize) { return true }
            }
        }
        return false
    }
}

extension Qcow2Tables {
    /// The name of a structure that the range hits.
    fileprivate mutating func structure(in range: ByteRange, _ checks: Qcow2OverlapChecks) -> String? {
        guard !range.isEmpty, !checks.isEmpty else { return nil }
        if checks.contains(.mainHeader), range.lowerBound < layout.clusterSize { return "qcow2_header" }
        if checks.contains(.activeL1), hits(l1Range, range) { return "active L1 table" }
        let kinds = checks.isDisjoint(with: [.activeL2, .refcountBlock]) ? 0 : metadataKinds(in: range)
        if checks.contains(.activeL2), kinds & MetadataClusters.l2 != 0 { return "active L2 table" }
        if checks.contains(.refcountTable), hits(refcountTableRange, range) { return "refcount table" }
        if checks.contains(.refcountBlock), kinds & MetadataClusters.refcountBlock != 0 { return "refcount block" }
        if checks.contains(.snapshotTable), let snapshotTable, hits(snapshotTable, range) { return "snapshot table" }
        if checks.contains(.inactiveL1), inactiveL1.contains(where: { hits($0, range) }) { return "inactive L1 table" }
        if checks.contains(.bitmapDirectory), let directory = bitmapDirectory, hits(directory, range) {
            return "bitmap directory"
        }
        return nil
    }

    /// Whether a write to the range hits a structure, which owns the clusters that it lies in whole.
    private func hits(_ structure: ByteRange, _ range: ByteRange) -> Bool {
        !structure.isEmpty && structure.aligned(outwardTo: layout.clusterSize).overlaps(range)
    }

    private var bitmapDirectory: ByteRange? {
        guard header.autoclearFeatures.contains(.bitmaps), let bitmaps = header.bitmaps else { return nil }
        return ByteRange(
            offset: Int64(clamping: bitmaps.directoryOffset), count: Int64(clamping: bitmaps.directorySize))
    }

    /// What the clusters of the range hold of L2 tables and refcount blocks.
    private mutating func metadataKinds(in range: ByteRange) -> UInt8 {
        if metadata == nil { metadata = collectMetadata() }
        guard let metadata, !metadata.isEmpty else { return 0 }
        var kinds: UInt8 = 0
        for cluster in layout.cluster(range.lowerBound)...layout.cluster(range.upperBound - 1) {
            kinds |= metadata.kinds(of: cluster)
        }
        return kinds
    }

    private func collectMetadata() -> MetadataClusters {
        var found = MetadataClusters()
        for entry in l1 where Qcow2Layout.l1Offset(entry) != 0 {
            found.insert(layout.cluster(Qcow2Layout.l1Offset(entry)), MetadataClusters.l2)
        }
        for entry in refcountTable where Qcow2Layout.blockOffset(entry) > 0 {
            found.insert(layout.cluster(Qcow2Layout.blockOffset(entry)), MetadataClusters.refcountBlock)
        }
        return found
    }
}
