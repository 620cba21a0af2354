import IOLoop
import Qcow2Format

/// Checking that the copied flags of the active tables agree with the refcounts.
extension Qcow2Checker {
    /// Checks the flags of the L1 table and of all L2 tables.
    func checkCopiedFlags(repairing: Bool) async throws(Errno) {
        for index in l1Table.indices {
            var entry = L1Entry(rawValue: l1Table[index])
            if entry.offset == 0 { continue }
            guard let refcount = await refcountForFlags(entry.offset) else { continue }
            if (refcount == 1) != entry.isCopied {
                say(
                    "\(prefix(repairing)) OFLAG_COPIED L2 cluster: l1_index=\(index) "
                        + "l1_entry=\(hex(entry.rawValue)) refcount=\(refcount)")
                if repairing {
                    entry.isCopied = refcount == 1
                    l1Table[index] = entry.rawValue
                    try await writeEntry(entry.rawValue, at: header.l1TableOffset + Int64(index) * 8)
                    result.corruptionsFixed += 1
                } else {
                    result.corruptions += 1
                }
            }
            try await checkCopiedFlags(inL2TableAt: entry.offset, repairing: repairing)
        }
    }

    private func checkCopiedFlags(inL2TableAt offset: Int64, repairing: Bool) async throws(Errno) {
        if offset >= fileLength { return }
        var bytes: [UInt8]
        do {
            bytes = try await read(UInt64(offset), Int(geometry.clusterSize))
        } catch {
            say("ERROR: I/O error in check_oflag_copied: \(error)")
            result.checkErrors += 1
            throw error
        }
        var changes = 0
        for index in 0..<geometry.l2EntryCount {
            var entry = bytes.withUnsafeBytes { L2Entry(in: $0, at: index, geometry: geometry) }
            guard [.normal, .zeroAllocated].contains(entry.kind(geometry)) else { continue }
            // Clusters of a data file have no refcounts, and count as used once.
            let stored = header.hasDataFile ? 1 : await refcountForFlags(entry.hostOffset)
            guard let refcount = stored else { continue }
            if (refcount == 1) == entry.isCopied { continue }
            say(
                "\(prefix(repairing)) OFLAG_COPIED data cluster: l2_entry=\(hex(entry.rawValue)) refcount=\(refcount)")
            result.corruptions += 1
            if repairing {
                entry.isCopied = refcount == 1
                bytes.withUnsafeMutableBytes { entry.store(in: $0, at: index, geometry: geometry) }
                changes += 1
            }
        }
        if changes > 0 {
            try await write(bytes, at: offset)
            result.corruptions -= changes
            result.corruptionsFixed += changes
        }
    }

    /// The refcount of a cluster, or nil if the image does not tell it, which was counted when refcounts were compared.
    private func refcountForFlags(_ offset: Int64) async -> UInt64? {
        do {
            return try await storedRefcount(offset)
        } catch {
            return nil
        }
    }
}
