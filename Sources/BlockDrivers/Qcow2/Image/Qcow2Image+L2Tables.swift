import BlockGraph
import IOLoop
import Synchronization

extension Qcow2Image {
    /// Makes sure that the active L1 table has an L2 table of its own for a part: a new one, or a copy of a shared one.
    func prepareL2Table(forPart part: Int) async throws(Errno) {
        try await structureLock.withLock { () async throws(Errno) in try await self.makeOwnL2Table(forPart: part) }
    }

    /// The structure lock is held.
    private func makeOwnL2Table(forPart part: Int) async throws(Errno) {
        let index = part / layout.partsInTable
        let entry = tables.withLock { tables in index < tables.l1.count ? tables.l1[index] : nil }
        guard let entry else { throw .EFBIG }
        let old = Qcow2Layout.l1Offset(entry)
        // In a broken image, an entry without table may have the flag.
        guard entry & Qcow2Layout.copied == 0 || old == 0 else { return }
        guard old & (layout.clusterSize - 1) == 0 else { throw await reportUnalignedL2Table(index, old) }

        await fire(.clusterAlloc)
        let range = try await allocate(atMost: 1, at: nil, holdingStructureLock: true)
        let buffer = BufferPool.shared.take(count: Int(layout.clusterSize))
        defer { BufferPool.shared.give(buffer) }
        do throws(Errno) {
            try await writeL2Table(index, old: old, to: range, through: buffer)
            try await installL2Table(part, at: range, contents: buffer)
        } catch {
            abandon(range)
            throw error
        }
        if old != 0 { release(old..<old + layout.clusterSize, reason: .other) }
    }

    /// Writes the whole of a new L2 table, which nothing refers to yet.
    private func writeL2Table(
        _ index: Int, old: Int64, to range: ByteRange, through buffer: IOBuffer
    ) async throws(Errno) {
        guard range.lowerBound != 0 else {
            throw await reportCorruption("Preventing invalid allocation of L2 table at offset 0")
        }
        try await checkOverlap(of: range)
        buffer.fill(0)
        if old != 0 {
            await fire(.l2AllocCOWRead)
            try await file.node.read(old..<old + layout.clusterSize, into: buffer)
            tables.withLock { $0.copyCachedParts(ofTable: index, into: buffer) }
        }
        await fire(.l2AllocWrite)
        try await file.node.write(range, from: buffer)
    }

    /// Lets the L1 table refer to a new L2 table, one part of which is kept in memory.
    private func installL2Table(_ part: Int, at range: ByteRange, contents: IOBuffer) async throws(Errno) {
        let slot = try await takeSlot(.l2, for: part)
        tables.withLock { tables in
            let index = part / layout.partsInTable
            if let slot {
                let start = part % layout.partsInTable * tables.l2.partSize
                IOBuffer(tables.l2.bytes(slot)).copy(from: contents[start..<start + tables.l2.partSize])
                tables.l2.finishLoading(slot)
            }
            tables.setL1(index, UInt64(range.lowerBound) | Qcow2Layout.copied)
        }
        slotQueue.notifyAll()
    }

    func reportUnalignedL2Table(_ index: Int, _ offset: Int64) async -> Errno {
        await reportCorruption("L2 table offset 0x\(hex(offset)) unaligned (L1 index: \(prefixedHex(index)))")
    }
}

extension Qcow2Tables {
    /// Changes an entry of the L1 table.
    mutating func setL1(_ index: Int, _ entry: UInt64) {
        metadata?.remove(layout.cluster(Qcow2Layout.l1Offset(l1[index])), MetadataClusters.l2)
        l1[index] = entry
        dirtyL1.mark(entry: index)
        let offset = Qcow2Layout.l1Offset(entry)
        if offset != 0 { metadata?.insert(layout.cluster(offset), MetadataClusters.l2) }
    }

    /// Copies what is in memory of an L2 table over what was read of it.
    fileprivate func copyCachedParts(ofTable index: Int, into buffer: IOBuffer) {
        for place in 0..<layout.partsInTable {
            guard let slot = l2.find(index * layout.partsInTable + place), l2.slots[slot].content == .ready else {
                continue
            }
            let start = place * l2.partSize
            buffer[start..<start + l2.partSize].copy(from: IOBuffer(l2.bytes(slot)))
        }
    }
}
