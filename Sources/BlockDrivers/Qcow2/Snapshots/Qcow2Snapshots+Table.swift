import BlockGraph
import Glibc
import IOLoop
import Qcow2Format

/// The snapshot table on disk, and the L1 tables that it refers to.
extension Qcow2Snapshots {
    /// Reads the snapshot table.
    static func readTable(of image: Qcow2Image) async throws(BlockError) -> Table {
        let header = image.header
        var table = Table()
        var offset = header.snapshotsOffset
        var window: [UInt8] = []
        var used = 0
        while table.entries.count < header.snapshotCount {
            var needed = SnapshotTableEntry.fixedSize
            while true {
                let size = try entrySize(window, used, number: table.entries.count)
                needed = size ?? needed
                if size != nil, window.count - used >= needed { break }
                window.removeFirst(used)
                used = 0
                let more = max(65536, needed)
                do throws(Errno) {
                    guard let range = ByteRange(offset: offset, count: Int64(more)) else { throw .EIO }
                    window += try await image.readBytes(range)
                } catch {
                    throw BlockError("Could not read snapshots", causedBy: error)
                }
                offset += Int64(more)
            }
            let entry = window.withUnsafeBytes { bytes in
                SnapshotTableEntry(parsing: UnsafeRawBufferPointer(rebasing: bytes[used..<used + needed]))
            }
            guard let entry else { throw BlockError("Could not read snapshots", causedBy: .EINVAL) }
            used += needed
            table.entries.append(entry)
            table.byteCount += needed
            guard table.byteCount <= Qcow2.maximumSnapshotTableSize else {
                throw BlockError("Snapshot table is too large", errno: .EFBIG)
            }
        }
        return table
    }

    /// The size of the entry at a place, nil where its fixed part is not all there. Errors: too much extra data.
    private static func entrySize(_ bytes: [UInt8], _ place: Int, number: Int) throws(BlockError) -> Int? {
        let sizes = bytes.withUnsafeBytes { bytes -> (entry: Int, extra: UInt32)? in
            let rest = UnsafeRawBufferPointer(rebasing: bytes[place...])
            guard let size = SnapshotTableEntry.byteCount(ofEntryStartingWith: rest),
                let extra = rest.bigEndian(at: 36, as: UInt32.self)
            else { return nil }
            return (size, extra)
        }
        guard let sizes else { return nil }
        guard sizes.extra <= UInt32(Qcow2.maximumSnapshotExtraData) else {
            throw BlockError(
                "Too much extra metadata in snapshot table entry \(number)", errno: .EINVAL,
                hint: "You can force-remove this extra metadata with qemu-img check -r all")
        }
        return sizes.entry
    }

    /// Writes a list to newly allocated clusters, not durably: their bytes. EFBIG: it is too large.
    func writeTable(_ entries: [SnapshotTableEntry]) async throws(Errno) -> ByteRange {
        let bytes: [UInt8]
        do {
            bytes = try encode(entries)
        } catch {
            throw .EFBIG
        }
        guard bytes.count <= Qcow2.maximumSnapshotTableSize else { throw .EFBIG }
        return try await image.writeNewStructure(count: bytes.count) { $0.copyBytes(from: bytes) }
    }

    private func encode(_ entries: [SnapshotTableEntry]) throws(Qcow2FormatError) -> [UInt8] {
        var bytes: [UInt8] = []
        for entry in entries { bytes += try entry.encoded(virtualSize: image.virtualSize) }
        return bytes
    }

    /// Keeps writes off the tables of snapshots.
    func protectTables() {
        let l1Tables = entries.compactMap { entry -> ByteRange? in
            guard let offset = Int64(exactly: entry.l1TableOffset) else { return nil }
            return ByteRange(offset: offset, count: 8 * Int64(entry.l1Size))
        }
        image.setSnapshotTables(tableRange.isEmpty ? nil : tableRange, l1Tables: l1Tables)
    }

    /// The entries of the L1 table of a snapshot. Errors: the entry makes no sense; the table cannot be read.
    func readL1(of entry: SnapshotTableEntry) async throws(BlockError) -> [UInt64] {
        guard Int(entry.l1Size) <= Qcow2.maximumL1TableSize / 8 else {
            throw BlockError("Snapshot L1 table too large", errno: .EFBIG)
        }
        let offset = Int64(clamping: entry.l1TableOffset)
        guard offset & image.geometry.clusterMask == 0, offset > 0 else {
            throw BlockError("Snapshot L1 table offset invalid", errno: .EINVAL)
        }
        do throws(Errno) {
            return try await image.readTable(at: offset, count: Int(entry.l1Size))
        } catch {
            throw BlockError("Failed to read snapshot L1 table", causedBy: error)
        }
    }

    /// The entries that the L1 table of a disk needs.
    func l1EntryCount(for size: Int64) -> Int {
        let coverage = image.geometry.l2Coverage
        return Int(size / coverage) + (size % coverage == 0 ? 0 : 1)
    }

    /// An entry for the disk as it is now.
    func newEntry(_ name: String, l1: ByteRange, count: Int) -> SnapshotTableEntry {
        let ids = entries.compactMap { UInt64($0.idText.prefix { $0.isNumber && $0.isASCII }) }
        let id = String((ids.max() ?? 0) &+ 1)
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        var entry = SnapshotTableEntry(
            id: Array(id.utf8), name: Array(name.utf8.prefix(Self.maximumNameLength)), l1TableOffset: l1.lowerBound,
            l1Size: count)
        entry.seconds = UInt32(truncatingIfNeeded: time.tv_sec)
        entry.nanoseconds = UInt32(truncatingIfNeeded: time.tv_nsec)
        entry.diskSize = UInt64(image.virtualSize)
        return entry
    }
}

extension InternalSnapshot {
    /// What an entry of the snapshot table says.
    init(_ entry: SnapshotTableEntry) {
        self.init(
            id: entry.idText, name: entry.nameText, vmStateSize: entry.vmStateSize, seconds: entry.seconds,
            nanoseconds: entry.nanoseconds, vmClock: entry.vmClock, instructionCount: entry.instructionCount,
            diskSize: entry.diskSize)
    }
}
