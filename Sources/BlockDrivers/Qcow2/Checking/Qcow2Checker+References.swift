import BlockGraph
import IOLoop
import Qcow2Format

/// Counting the references of the image's structures to host clusters.
extension Qcow2Checker {
    /// Counts all references anew.
    func countReferences() async throws(Errno) {
        counts = ReferenceCounts(geometry)
        result.totalClusters = geometry.clusterCount(header.virtualSize)
        count(0, geometry.clusterSize)
        try await walkL1(UInt64(header.l1TableOffset), size: header.l1Size, isActive: true)
        if header.hasDataFile, !snapshots.isEmpty {
            say("ERROR \(snapshots.count) snapshots in image with data file")
            result.corruptions += 1
        }
        for snapshot in snapshots { try await walkSnapshot(snapshot) }
        count(UInt64(bitPattern: header.snapshotsOffset), snapshotTableSize)
        count(UInt64(header.refcountTableOffset), Int64(header.refcountTableClusters) << Int64(geometry.clusterBits))
        try await countBitmaps()
        try await checkRefcountBlocks()
    }

    /// Counts each cluster that the region touches.
    func count(_ offset: UInt64, _ size: Int64) {
        guard size > 0 else { return }
        let (end, overflow) = offset.addingReportingOverflow(UInt64(size))
        // The last cluster of the file may be cut off.
        let limit = UInt64(fileLength) + UInt64(geometry.clusterSize)
        if overflow || end >= limit {
            say(
                "ERROR: counting reference for region exceeding the end of the file by one cluster or more: "
                    + "offset 0x\(hex(offset)) size 0x\(hex(UInt64(size)))")
            result.corruptions += 1
            return
        }
        let first = Int64(offset) >> Int64(geometry.clusterBits)
        let last = Int64(end - 1) >> Int64(geometry.clusterBits)
        for cluster in first...last where !counts.increase(cluster) {
            say("ERROR: overflow cluster offset=0x\(hex(UInt64(cluster) << UInt64(geometry.clusterBits)))")
            say(
                "Use qemu-img amend to increase the refcount entry width or qemu-img convert to create a clean copy "
                    + "if the image cannot be opened for writing")
            result.corruptions += 1
        }
    }

    private func walkSnapshot(_ snapshot: SnapshotTableEntry) async throws(Errno) {
        let place = "snapshot \(snapshot.idText) (\(snapshot.nameText))"
        if snapshot.l1TableOffset & UInt64(geometry.clusterMask) != 0 {
            say(
                "ERROR \(place) l1_offset=0x\(hex(snapshot.l1TableOffset)): L1 table is not cluster aligned; "
                    + "snapshot table entry corrupted")
            result.corruptions += 1
        } else if Int(snapshot.l1Size) > Qcow2.maximumL1TableSize / 8 {
            say(
                "ERROR \(place) l1_size=0x\(hex(UInt64(snapshot.l1Size))): L1 table is too large; "
                    + "snapshot table entry corrupted")
            result.corruptions += 1
        } else {
            try await walkL1(snapshot.l1TableOffset, size: Int(snapshot.l1Size), isActive: false)
        }
    }

    /// Counts an L1 table and all that hangs on it.
    private func walkL1(_ offset: UInt64, size: Int, isActive: Bool) async throws(Errno) {
        guard size > 0 else { return }
        count(offset, Int64(size) * 8)
        let table: [UInt64]
        do {
            table = try await readTable(offset, entryCount: size)
        } catch {
            say("ERROR: I/O error in check_refcounts_l1")
            result.checkErrors += 1
            throw error
        }
        if isActive { l1Table = table }
        for raw in table where raw != 0 {
            let entry = L1Entry(rawValue: raw)
            if entry.hasReservedBits {
                say("ERROR found L1 entry with reserved bits set: \(hex(raw))")
                result.corruptions += 1
            }
            count(UInt64(entry.offset), geometry.clusterSize)
            if !entry.isAligned(geometry) {
                say("ERROR l2_offset=\(hex(UInt64(entry.offset))): Table is not cluster aligned; L1 entry corrupted")
                result.corruptions += 1
            }
            try await walkL2(entry.offset, isActive: isActive)
        }
    }

    /// Counts what an L2 table points to.
    private func walkL2(_ offset: Int64, isActive: Bool) async throws(Errno) {
        // Beyond the end of the file all entries are zero.
        if offset >= fileLength { return }
        let bytes: [UInt8]
        do {
            bytes = try await read(UInt64(offset), Int(geometry.clusterSize))
        } catch {
            say("ERROR: I/O error in check_refcounts_l2")
            result.checkErrors += 1
            throw error
        }
        nextContiguous = 0
        var repairs: [Int] = []
        bytes.withUnsafeBytes { bytes in
            for index in 0..<geometry.l2EntryCount {
                let entry = L2Entry(in: bytes, at: index, geometry: geometry)
                if entry.isEmpty { continue }
                if check(entry, index: index, isActive: isActive) { repairs.append(index) }
            }
        }
        for index in repairs { try await dropPreallocation(bytes, index: index, table: offset) }
    }

    /// Replaces a zero cluster's misaligned host cluster by none.
    private func dropPreallocation(_ bytes: [UInt8], index: Int, table: Int64) async throws(Errno) {
        let old = bytes.withUnsafeBytes { L2Entry(in: $0, at: index, geometry: geometry) }
        let place = table + Int64(index * geometry.l2EntrySize)
        try await writeEntry(geometry.hasSubclusters ? 0 : Qcow2.zeroFlag, at: place)
        if geometry.hasSubclusters { try await writeEntry(old.subclusters & ~0xffff_ffff, at: place + 8) }
        result.corruptions -= 1
        result.corruptionsFixed += 1
    }
}
