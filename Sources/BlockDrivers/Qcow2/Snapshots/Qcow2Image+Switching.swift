import BlockGraph
import IOLoop
import Qcow2Format
import Synchronization

/// Exchanging the active tables of an image, in a drained section.
extension Qcow2Image {
    /// Sets the dirty bit durably, where there is one, so that a crash from here on is repaired when the image is opened.
    /// Whether it was clear before.
    func markCritical() async throws(Errno) -> Bool {
        let wasClean = !header.incompatibleFeatures.contains(.dirty)
        if wasClean { try await setFeature(.dirty, true) }
        return wasClean
    }

    /// Clears the dirty bit where `markCritical` set it, after everything has been written. Where that fails it stays, and
    /// the image is checked when it is opened next.
    func endCritical(_ isOurs: Bool) async {
        guard isOurs else { return }
        do throws(Errno) {
            try await commit()
            try await setFeature(.dirty, false)
        } catch {
            return
        }
    }

    /// Writes back everything, and lets the refcounts of what was released go down, durably.
    func settle() async throws(Errno) {
        // The first commit lets refcounts go down in memory, the second one writes them.
        try await commit()
        try await commit()
    }

    /// Forgets what is in memory of L2 tables, which have changed on disk. Nothing of it is waiting to be written.
    func dropL2Cache() {
        tables.withLock { tables in
            for slot in tables.l2.slots.indices where tables.l2.slots[slot].content == .ready { tables.l2.drop(slot) }
        }
    }

    /// Makes other tables the active ones in memory, after the header on disk refers to them: the bytes of the former L1
    /// table.
    func adopt(l1: [UInt64], at offset: Int64) -> ByteRange {
        tables.withLock { tables in
            let old = tables.l1Range
            tables.l1 = l1
            tables.l1Offset = offset
            tables.dirtyL1 = DirtySectors()
            tables.metadata = nil
            tables.byteCursor = 0
            for slot in tables.l2.slots.indices where tables.l2.slots[slot].content == .ready { tables.l2.drop(slot) }
            return old
        }
    }

    /// Writes a table of 8-byte entries to newly allocated clusters, not durably: its bytes.
    func writeNewTable(_ entries: [UInt64]) async throws(Errno) -> ByteRange {
        try await writeNewStructure(count: 8 * entries.count) { bytes in
            for (index, entry) in entries.enumerated() { bytes.storeBigEndian(entry, at: 8 * index) }
        }
    }

    /// Writes a structure to newly allocated clusters in a row, not durably: the bytes of the clusters. The last sector is
    /// filled up with zeroes; what is behind it is not written. Errors: as `allocateClusters`; then nothing stays allocated.
    func writeNewStructure(
        count: Int, _ fill: (UnsafeMutableRawBufferPointer) -> Void
    ) async throws(Errno) -> ByteRange {
        let clusters = max(1, Int(layout.clusters(forBytes: Int64(count))))
        let range = try await allocateContiguously(clusters)
        let buffer = BufferPool.shared.take(count: max(512, (count + 511) & ~511))
        defer { BufferPool.shared.give(buffer) }
        buffer.fill(0)
        fill(buffer.bytes)
        do throws(Errno) {
            try await checkOverlap(of: range)
            try await file.node.write(range.lowerBound..<range.lowerBound + Int64(buffer.count), from: buffer)
        } catch {
            abandon(range)
            throw error
        }
        return range
    }

    /// Reads bytes of the image file.
    func readBytes(_ range: ByteRange) async throws(Errno) -> [UInt8] {
        let buffer = BufferPool.shared.take(count: Int(range.length))
        defer { BufferPool.shared.give(buffer) }
        try await file.node.read(range, into: buffer)
        return [UInt8](buffer.bytes)
    }

    /// Reads a table of 8-byte entries.
    func readTable(at offset: Int64, count: Int) async throws(Errno) -> [UInt64] {
        guard count > 0 else { return [] }
        let buffer = BufferPool.shared.take(count: 8 * count)
        defer { BufferPool.shared.give(buffer) }
        guard let range = ByteRange(offset: offset, count: Int64(buffer.count)) else { throw .EIO }
        try await file.node.read(range, into: buffer)
        return (0..<count).map { UInt64(bigEndian: buffer.base.load(fromByteOffset: 8 * $0, as: UInt64.self)) }
    }
}
