import BlockGraph
import IOLoop
import Qcow2Format
import Synchronization

extension Qcow2Image {
    /// The largest L1 table, in bytes.
    public static let maximumL1Size = 32 << 20

    /// The number of entries of the active L1 table.
    public var l1EntryCount: Int { tables.withLock { $0.l1.count } }

    /// The entries of the active L1 table, as in memory.
    public var l1Entries: [UInt64] { tables.withLock { $0.l1 } }

    /// Makes the active L1 table at least `count` entries long, durably; it moves to other clusters.
    ///
    /// Errors: EFBIG beyond `maximumL1Size`; as `allocateClusters`; those of the file.
    public func growL1(to count: Int) async throws(Errno) {
        guard count <= Self.maximumL1Size / 8 else { throw .EFBIG }
        try await structureLock.withLock { () async throws(Errno) in
            guard self.l1EntryCount < count else { return }
            try await self.moveL1(entryCount: count)
        }
    }

    /// Writes the L1 table to a new place, longer, and lets the header refer to it. The structure lock is held, so that no
    /// entry changes.
    private func moveL1(entryCount: Int) async throws(Errno) {
        await fire(.l1GrowAllocTable)
        let range = try await allocateContiguouslyLocked(Int(layout.clusters(forBytes: 8 * Int64(entryCount))))
        do throws(Errno) {
            guard range.lowerBound != 0 else {
                throw await reportCorruption("Preventing invalid allocation of L1 table at offset 0")
            }
            try await checkOverlap(of: range)
            // What the entries refer to, and the refcounts of the new clusters, come first.
            try await commit()
            let buffer = BufferPool.shared.take(count: Int(range.length))
            defer { BufferPool.shared.give(buffer) }
            buffer.fill(0)
            for (index, entry) in l1Entries.enumerated() { buffer.store(entry, at: 8 * index) }
            await fire(.l1GrowWriteTable)
            try await file.node.write(range, from: buffer)
            try await file.node.flush()
            await fire(.l1GrowActivateTable)
            try await updateHeader { header in
                header.l1TableOffset = range.lowerBound
                header.l1Size = entryCount
            }
        } catch {
            abandon(range)
            throw error
        }
        let old = tables.withLock { tables in
            let old = tables.l1Range
            tables.l1Offset = range.lowerBound
            tables.l1 += Array(repeating: 0, count: entryCount - tables.l1.count)
            return old
        }
        release(old, reason: .other)
    }

    /// Takes the L2 tables out of the active L1 table from an entry on: the guest clusters there are unallocated from then
    /// on. What the tables referred to is the caller's to release.
    ///
    /// In a drained section. Durable after the next commit.
    public func dropL2Tables(fromEntry first: Int) async {
        await structureLock.lock()
        await commitLock.lock()
        let dropped = tables.withLock { tables -> [Int64] in
            var dropped: [Int64] = []
            for index in tables.l1.indices.dropFirst(first) where tables.l1[index] != 0 {
                dropped.append(Qcow2Layout.l1Offset(tables.l1[index]))
                tables.dropCachedParts(ofTable: index)
                tables.setL1(index, 0)
            }
            return dropped
        }
        commitLock.unlock()
        structureLock.unlock()
        for offset in dropped where offset != 0 { release(offset..<offset + layout.clusterSize, reason: .other) }
    }
}

extension Qcow2Tables {
    /// Forgets the cached parts of an L2 table that nobody is loading or writing.
    mutating func dropCachedParts(ofTable index: Int) {
        for part in index * layout.partsInTable..<(index + 1) * layout.partsInTable {
            if let slot = l2.find(part) { l2.drop(slot) }
        }
    }
}
