import BlockGraph
import IOLoop
import Qcow2Format

/// Reading the snapshot table, and writing it anew where it is broken.
extension Qcow2Checker {
    /// Reads the snapshot table and checks the sizes in it.
    ///
    /// Errors: the table cannot be used at all, or a size is beyond the limits and only errors of this kind are repaired
    /// with `all`.
    func readSnapshotTable() async throws(Errno) {
        let place = UInt64(bitPattern: header.snapshotsOffset)
        let room = UInt64(Qcow2.maximumSnapshots) * UInt64(SnapshotTableEntry.fixedSize)
        if place & UInt64(geometry.clusterMask) != 0 || place > UInt64(Int64.max) - room {
            sayError("ERROR snapshot table offset invalid")
            throw .EINVAL
        }
        try discardOverhang()
        if header.snapshotCount == 0 { return }
        var offset = place
        for index in 0..<header.snapshotCount {
            guard let size = try await readSnapshot(index, at: offset) else { break }
            offset += size
        }
        snapshotTableSize = Int64(offset - place)
        for index in snapshots.indices where header.version >= 3 && snapshots[index].extraDataSize < 16 {
            say("\(prefix(repair == .all)) snapshot table entry \(index) is incomplete")
            countSnapshotError()
        }
    }

    private func countSnapshotError() {
        snapshotErrors += 1
        result.corruptions += 1
    }

    /// Drops snapshots beyond the greatest number.
    private func discardOverhang() throws(Errno) {
        let overhang = header.snapshotCount - Qcow2.maximumSnapshots
        if overhang <= 0 { return }
        if repair != .all {
            sayError(
                "ERROR snapshot table too large\n"
                    + "You can force-remove all \(overhang) overhanging snapshots with qemu-img check -r all")
            throw .EFBIG
        }
        say("Discarding \(overhang) overhanging snapshots")
        header.snapshotCount = Qcow2.maximumSnapshots
        snapshotErrors += overhang
        result.corruptions += overhang
    }

    /// Reads one entry. Returns its size with padding, or nil if the table is too large and ends here.
    private func readSnapshot(_ index: Int, at offset: UInt64) async throws(Errno) -> UInt64? {
        if offset - UInt64(bitPattern: header.snapshotsOffset) > UInt64(Qcow2.maximumSnapshotTableSize) {
            let rest = header.snapshotCount - index
            if repair != .all {
                sayError(
                    "ERROR failed to read the snapshot table: Snapshot table is too big\n"
                        + "You can force-remove all \(rest) overhanging snapshots with qemu-img check -r all")
                throw .EFBIG
            }
            say("Discarding \(rest) overhanging snapshots (snapshot table is too big)")
            snapshotErrors += rest
            result.corruptions += rest
            header.snapshotCount = index
            return nil
        }
        var bytes = try await read(offset, SnapshotTableEntry.fixedSize)
        let size = bytes.withUnsafeBytes { SnapshotTableEntry.byteCount(ofEntryStartingWith: $0) } ?? 0
        let extra = bytes[36..<40].reduce(0) { $0 << 8 | Int($1) }
        if extra > Qcow2.maximumSnapshotExtraData {
            if repair != .all {
                sayError(
                    "ERROR failed to read the snapshot table: Too much extra metadata in snapshot table entry "
                        + "\(index)\nYou can force-remove this extra metadata with qemu-img check -r all")
                throw .EFBIG
            }
            say(
                "Discarding too much extra metadata in snapshot table entry \(index) "
                    + "(\(extra) > \(Qcow2.maximumSnapshotExtraData))")
            countSnapshotError()
            // What is known of the extra data is kept, and the names behind it.
            bytes = try await read(offset, SnapshotTableEntry.fixedSize + SnapshotTableEntry.writtenExtraSize)
            bytes[36..<40] = [0, 0, 0, UInt8(SnapshotTableEntry.writtenExtraSize)]
            let names = bytes[12..<16].map { Int($0) }
            let count = names[0] << 8 + names[1] + names[2] << 8 + names[3]
            bytes += try await read(offset + UInt64(SnapshotTableEntry.fixedSize + extra), count)
        } else {
            bytes = try await read(offset, size)
        }
        guard let entry = bytes.withUnsafeBytes({ SnapshotTableEntry(parsing: $0) }) else { throw .EINVAL }
        snapshots.append(entry)
        return UInt64(size)
    }

    /// Writes the snapshot table with all that was repaired in it.
    func rewriteSnapshotTable() async throws(Errno) {
        var bytes: [UInt8] = []
        do {
            for snapshot in snapshots { bytes += try snapshot.encoded(virtualSize: header.virtualSize) }
        } catch {
            say("ERROR failed to update snapshot table: \(Errno.EFBIG)")
            throw .EFBIG
        }
        if fitsInPlace(bytes.count) {
            try await write(bytes, at: header.snapshotsOffset)
            snapshotTableSize = Int64(bytes.count)
            try await updateSnapshotFields(offset: header.snapshotsOffset)
        } else {
            let place = max(counts.lastCluster + 1, clusterCount) << Int64(geometry.clusterBits)
            try await write(bytes, at: place)
            try await file.flush()
            snapshotTableSize = Int64(bytes.count)
            try await updateSnapshotFields(offset: snapshots.isEmpty ? 0 : place)
            try await rebuildRefcounts()
        }
        result.corruptions -= snapshotErrors
        result.corruptionsFixed += snapshotErrors
        snapshotErrors = 0
    }

    private func updateSnapshotFields(offset: Int64) async throws(Errno) {
        var new = header
        new.snapshotCount = snapshots.count
        new.snapshotsOffset = offset
        try await writeHeader(new)
    }

    /// Whether a table of `size` bytes takes exactly the clusters of the old one, and nothing else uses those.
    private func fitsInPlace(_ size: Int) -> Bool {
        let needed = geometry.clusterCount(Int64(size))
        let first = header.snapshotsOffset >> Int64(geometry.clusterBits)
        guard needed > 0, needed == geometry.clusterCount(snapshotTableSize), first > 0, first + needed <= clusterCount
        else { return false }
        return (first..<first + needed).allSatisfy { counts[$0] == 1 }
    }
}
