import BlockGraph
import IOLoop
import Qcow2Format

/// Comparing the references with the image's refcounts.
extension Qcow2Checker {
    /// Clusters of the file, the last one perhaps cut off.
    var clusterCount: Int64 { geometry.clusterCount(fileLength) }

    /// Counts references, compares them with the refcounts, and repairs those.
    func checkRefcounts() async throws(Errno) {
        fileLength = file.length
        guard clusterCount <= Int64(Int32.max) else {
            result.checkErrors += 1
            return
        }
        refcountTable = try await readTable(
            UInt64(header.refcountTableOffset),
            entryCount: header.refcountTableClusters << (geometry.clusterBits - 3))
        try await countReferences()
        try await compare(repair: .none)
        if repair == .none { return }
        if needsRebuild, repair == .all {
            try await rebuildAndCount()
        } else if needsRebuild {
            say("ERROR need to rebuild refcount structures")
            throw .EIO
        } else if result.leaks > 0 || result.corruptions > 0 {
            // The second pass tells what it repairs; what it does not repair was counted by the first one.
            result.leaks = 0
            result.corruptions -= refcountCorruptions
            try await compare(repair: repair)
        }
    }

    /// Compares all refcounts, and writes those that `repair` allows to.
    func compare(repair: Qcow2Repair) async throws(Errno) {
        refcountCorruptions = 0
        var highest: Int64 = 0
        let perBlock = Int64(geometry.refcountBlockEntryCount)
        var first: Int64 = 0
        // References may reach into the cluster behind the end of the file.
        let count = max(clusterCount, counts.lastCluster + 1)
        while first < count {
            let end = min(first + perBlock, count)
            highest = max(highest, try await compareBlock(first..<end, repair: repair))
            first = end
        }
        result.imageEndOffset = (highest + 1) << Int64(geometry.clusterBits)
    }

    /// Compares the refcounts of one block, and returns the last cluster that is in use by either count, or 0.
    private func compareBlock(_ clusters: Range<Int64>, repair: Qcow2Repair) async throws(Errno) -> Int64 {
        let index = Int(clusters.lowerBound >> Int64(geometry.refcountBlockEntryCountBits))
        var highest: Int64 = 0
        let stored: [UInt8]
        do {
            stored = try await refcountBlock(index)
        } catch {
            tellUnaligned(index)
            for cluster in clusters {
                say("Can't get refcount for cluster \(cluster): \(error)")
                result.checkErrors += 1
            }
            return 0
        }
        let counted = counts.blocks[index] ?? []
        if stored.isEmpty, counted.isEmpty { return 0 }
        var changed = stored
        var changes = 0
        for cluster in clusters {
            let entry = Int(cluster - clusters.lowerBound)
            let old = value(stored, entry)
            let new = value(counted, entry)
            if old != 0 || new != 0 { highest = cluster }
            if old == new { continue }
            if old == 0 { needsRebuild = true }
            let isRepaired = !stored.isEmpty && (repair == .all || (repair == .leaks && old > new))
            let word = isRepaired ? "Repairing" : old < new ? "ERROR" : "Leaked"
            say("\(word) cluster \(cluster) refcount=\(old) reference=\(new)")
            if isRepaired {
                changed.withUnsafeMutableBytes {
                    RefcountBlock.setRefcount(new, in: $0, at: entry, order: geometry.refcountOrder)
                }
                changes += 1
                if old < new { result.corruptionsFixed += 1 } else { result.leaksFixed += 1 }
            } else if old < new {
                result.corruptions += 1
                refcountCorruptions += 1
            } else {
                result.leaks += 1
            }
        }
        if changes > 0 {
            try await write(changed, at: Int64(refcountTable[index] & Qcow2.refcountTableOffsetMask))
            cachedBlock = (index, changed)
        }
        return highest
    }

    /// Tells, as QEMU's driver does once, that the place of a refcount block is not valid.
    private func tellUnaligned(_ index: Int) {
        let offset = refcountTable[index] & Qcow2.refcountTableOffsetMask
        if toldUnaligned || offset & UInt64(geometry.clusterMask) == 0 { return }
        toldUnaligned = true
        say(
            "qcow2: Image is corrupt: Refblock offset 0x\(hex(offset)) unaligned (reftable index: \(index)); further "
                + "non-fatal corruption events will be suppressed")
    }

    private func value(_ block: [UInt8], _ entry: Int) -> UInt64 {
        if block.isEmpty { return 0 }
        return block.withUnsafeBytes { RefcountBlock.refcount(in: $0, at: entry, order: geometry.refcountOrder) }
    }

    /// The bytes of a refcount block of the image, empty if there is none. EIO: its place is not valid.
    func refcountBlock(_ index: Int) async throws(Errno) -> [UInt8] {
        if let cachedBlock, cachedBlock.index == index { return cachedBlock.bytes }
        guard index < refcountTable.count else { return [] }
        let offset = refcountTable[index] & Qcow2.refcountTableOffsetMask
        if offset == 0 { return [] }
        if offset & UInt64(geometry.clusterMask) != 0 { throw .EIO }
        let bytes = try await read(offset, Int(geometry.clusterSize))
        cachedBlock = (index, bytes)
        return bytes
    }

    /// The refcount that the image has for the cluster at `offset`.
    func storedRefcount(_ offset: Int64) async throws(Errno) -> UInt64 {
        let block = try await refcountBlock(geometry.refcountTableIndex(of: offset))
        return value(block, geometry.refcountBlockIndex(of: offset))
    }

    /// Counts and checks the refcount blocks.
    func checkRefcountBlocks() async throws(Errno) {
        for (index, raw) in refcountTable.enumerated() where raw != 0 {
            let entry = RefcountTableEntry(rawValue: raw)
            if entry.hasReservedBits {
                say("ERROR refcount table entry \(index) has reserved bits set")
            } else if entry.rawOffset & UInt64(geometry.clusterMask) != 0 {
                say("ERROR refcount block \(index) is not cluster aligned; refcount table entry corrupted")
            } else if entry.rawOffset >= UInt64(clusterCount) << UInt64(geometry.clusterBits) {
                say("\(prefix(repair == .all)) refcount block \(index) is outside image")
                result.corruptions += 1
                if repair == .all { needsRebuild = true }
                continue
            } else {
                count(entry.rawOffset, geometry.clusterSize)
                let references = counts[Int64(entry.rawOffset) >> Int64(geometry.clusterBits)]
                if references == 1 { continue }
                say("ERROR refcount block \(index) refcount=\(references)")
            }
            result.corruptions += 1
            needsRebuild = true
        }
    }
}
