import BlockGraph
import IOLoop
import Qcow2Format
import Synchronization

/// What the tables below an L1 table refer to. All of it works on the tables on disk, which the caller has brought up to
/// date with a commit while nothing changes them: in a drained section.
extension Qcow2Image {
    /// Calls the body with each L2 table of an L1 table: its index, its offset and its bytes.
    ///
    /// What the body changes it tells as a range of bytes, which is written back, not durably. EIO: an offset makes no
    /// sense, which is reported.
    func forEachL2Table(
        of l1: [UInt64],
        _ body: (_ index: Int, _ offset: Int64, _ table: IOBuffer) async throws(Errno) -> Range<Int>?
    ) async throws(Errno) {
        let size = Int(geometry.clusterSize)
        let buffer = BufferPool.shared.take(count: size)
        defer { BufferPool.shared.give(buffer) }
        for (index, entry) in l1.enumerated() {
            let offset = L1Entry(rawValue: entry).offset
            guard offset != 0 else { continue }
            guard offset & geometry.clusterMask == 0 else { throw await reportUnalignedL2Table(index, offset) }
            await fire(.l2Load)
            try await file.node.read(offset..<offset + Int64(size), into: buffer)
            guard let changed = try await body(index, offset, buffer) else { continue }
            let bytes = changed.lowerBound & ~511..<(changed.upperBound + 511) & ~511
            await fire(.l2Update)
            try await file.node.write(
                offset + Int64(bytes.lowerBound)..<offset + Int64(bytes.upperBound), from: buffer[bytes])
        }
    }

    /// The clusters that the entries of an L2 table refer to, contiguous ones together. Compressed ones come one by one,
    /// as each of them has a reference of its own.
    ///
    /// EIO: an entry is not aligned.
    func hostRanges(in table: IOBuffer) throws(Errno) -> [ByteRange] {
        let bytes = UnsafeRawBufferPointer(table.bytes)
        var ranges: [ByteRange] = []
        var isOpen = false
        for index in 0..<geometry.l2EntryCount {
            let entry = L2Entry(in: bytes, at: index, geometry: geometry)
            if entry.isCompressed {
                let extent = entry.compressedExtent(geometry)
                ranges.append((extent.offset..<extent.end).aligned(outwardTo: geometry.clusterSize))
                isOpen = false
            } else if entry.hostOffset != 0 {
                guard entry.hostOffset & geometry.clusterMask == 0 else { throw .EIO }
                let end = entry.hostOffset + geometry.clusterSize
                if isOpen, let last = ranges.last, last.upperBound == entry.hostOffset {
                    ranges[ranges.count - 1] = last.lowerBound..<end
                } else {
                    ranges.append(entry.hostOffset..<end)
                    isOpen = true
                }
            }
        }
        return ranges
    }

    /// Gives every cluster below an L1 table one more reference, its L2 tables included. After an error none has one.
    ///
    /// Returns the L2 tables with entries that are marked as having exactly one reference, by L1 index.
    /// Errors: EINVAL where a refcount cannot become greater; EIO where a table makes no sense; the file's.
    func addReferences(below l1: [UInt64]) async throws(Errno) -> Set<Int> {
        var marked: Set<Int> = []
        var done: [ByteRange] = []
        do throws(Errno) {
            try await forEachL2Table(of: l1) { (index, offset, table) async throws(Errno) in
                for range in [offset..<offset + geometry.clusterSize] + (try hostRanges(in: table)) {
                    try await addWhole(1, to: range)
                    if let last = done.last, last.upperBound == range.lowerBound {
                        done[done.count - 1] = last.lowerBound..<range.upperBound
                    } else {
                        done.append(range)
                    }
                }
                if firstMarkedEntry(of: table) != nil { marked.insert(index) }
                return nil
            }
        } catch {
            // What cannot be taken back leaks.
            for range in done { try? await addReference(-1, to: range) }
            throw error
        }
        return marked
    }

    /// Adds to the refcounts of all clusters of a range or, on an error, of none.
    private func addWhole(_ delta: Int64, to range: ByteRange) async throws(Errno) {
        var offset = range.lowerBound
        do throws(Errno) {
            // Where one of the clusters does not take it, the ones before must be known.
            while offset < range.upperBound {
                let piece = offset..<offset + geometry.clusterSize
                try await addReference(delta, to: piece)
                offset = piece.upperBound
            }
        } catch {
            if offset > range.lowerBound { try? await addReference(-delta, to: range.lowerBound..<offset) }
            throw error
        }
    }

    /// Takes one reference from every cluster below an L1 table, its L2 tables included, after the next commit.
    func releaseReferences(below l1: [UInt64]) async throws(Errno) {
        try await forEachL2Table(of: l1) { (_, offset, table) async throws(Errno) in
            for range in try hostRanges(in: table) { release(range, reason: .snapshot) }
            release(offset..<offset + geometry.clusterSize, reason: .snapshot)
            return nil
        }
    }

    private func firstMarkedEntry(of table: IOBuffer) -> Int? {
        let bytes = UnsafeRawBufferPointer(table.bytes)
        return (0..<geometry.l2EntryCount).first { L2Entry(in: bytes, at: $0, geometry: geometry).isCopied }
    }
}

// MARK: The flags of clusters with one reference

extension Qcow2Image {
    /// Clears the flags of all entries in the L2 tables at the given indices of an L1 table.
    func clearCopiedFlags(below l1: [UInt64], at indices: Set<Int>) async throws(Errno) {
        let tables = l1.enumerated().map { indices.contains($0.offset) ? $0.element : 0 }
        try await forEachL2Table(of: tables) { (_, _, table) async throws(Errno) in
            setCopiedFlags(of: table) { _ in false }
        }
    }

    /// Makes the flags of the active tables say which clusters have exactly one reference. The L1 table changes in memory;
    /// the next commit writes it.
    func restoreCopiedFlags() async throws(Errno) {
        let l1 = l1Entries
        var own = l1
        for (index, entry) in l1.enumerated() where entry != 0 {
            let offset = L1Entry(rawValue: entry).offset
            // An L2 table that a snapshot shares has only entries that the snapshot shares.
            if try await refcount(ofClusterAt: offset) != 1 { own[index] = 0 }
        }
        try await forEachL2Table(of: own) { (_, _, table) async throws(Errno) in
            let single = try await clustersWithOneReference(in: table)
            return setCopiedFlags(of: table) { single.contains($0) }
        }
        setL1CopiedFlags { own[$0] != 0 }
    }

    /// Sets the flags of the entries of the active L1 table, by index, in memory.
    func setL1CopiedFlags(_ isCopied: (Int) -> Bool) {
        tables.withLock { tables in
            for index in tables.l1.indices where tables.l1[index] != 0 {
                var entry = L1Entry(rawValue: tables.l1[index])
                entry.isCopied = isCopied(index)
                if entry.rawValue != tables.l1[index] { tables.setL1(index, entry.rawValue) }
            }
        }
    }

    /// Sets the flags of the entries with host clusters; the bytes that have changed.
    private func setCopiedFlags(of table: IOBuffer, _ isCopied: (Int64) -> Bool) -> Range<Int>? {
        let bytes = UnsafeRawBufferPointer(table.bytes)
        var changed: Range<Int>?
        for index in 0..<geometry.l2EntryCount {
            var entry = L2Entry(in: bytes, at: index, geometry: geometry)
            let flag = !entry.isCompressed && entry.hostOffset != 0 && isCopied(entry.hostOffset)
            guard entry.isCopied != flag else { continue }
            entry.isCopied = flag
            entry.store(in: table.bytes, at: index, geometry: geometry)
            let place = index * geometry.l2EntrySize..<(index + 1) * geometry.l2EntrySize
            changed = (changed?.lowerBound ?? place.lowerBound)..<place.upperBound
        }
        return changed
    }

    /// The host offsets of the clusters of an L2 table that have exactly one reference.
    private func clustersWithOneReference(in table: IOBuffer) async throws(Errno) -> Set<Int64> {
        var found: Set<Int64> = []
        for range in try hostRanges(in: table) {
            var offset = range.lowerBound
            while offset < range.upperBound {
                let missing = tables.withLock { tables -> Int? in
                    while offset < range.upperBound {
                        switch tables.refcount(of: layout.cluster(offset)) {
                        case .value(1): found.insert(offset)
                        case .value, .noBlock: break
                        case .notLoaded(let block): return block
                        }
                        offset += layout.clusterSize
                    }
                    return nil
                }
                if let missing { try await loadRefcounts(missing) }
            }
        }
        return found
    }
}
