import IOLoop
import Qcow2Format

/// Checking single L2 entries.
extension Qcow2Checker {
    /// Checks an entry and counts what it points to. True: a misaligned preallocated cluster, which is to be dropped.
    func check(_ entry: L2Entry, index: Int, isActive: Bool) -> Bool {
        if !entry.isCompressed, entry.hasReservedBits(geometry) {
            say("ERROR found l2 entry with reserved bits set: \(hex(entry.rawValue))")
            result.corruptions += 1
        }
        switch entry.kind(geometry) {
        case .compressed: checkCompressed(entry, index: index, isActive: isActive)
        case .zeroAllocated, .normal: return checkAllocated(entry, isActive: isActive)
        case .unallocated:
            // Of an unallocated cluster, only the bits for zeroes mean something.
            if geometry.hasSubclusters, entry.allocationBits != 0 {
                say("ERROR: Unallocated cluster has non-zero subcluster allocation map")
                result.corruptions += 1
            }
        case .zeroPlain: break
        }
        return false
    }

    private func checkCompressed(_ entry: L2Entry, index: Int, isActive: Bool) {
        let extent = entry.compressedExtent(geometry)
        var shown = entry
        shown.isCopied = false
        if entry.isCopied {
            say("ERROR: coffset=0x\(hex(UInt64(extent.offset))): copied flag must never be set for compressed clusters")
            result.corruptions += 1
        }
        if header.hasDataFile {
            say("ERROR compressed cluster \(index) with data file, entry=0x\(hex(shown.rawValue))")
            result.corruptions += 1
            return
        }
        if geometry.hasSubclusters, entry.subclusters != 0 {
            say(
                "ERROR compressed cluster \(index) with non-zero subcluster allocation bitmap, "
                    + "entry=0x\(hex(shown.rawValue))")
            result.corruptions += 1
            return
        }
        count(UInt64(extent.offset), extent.byteCount)
        if isActive {
            result.allocatedClusters += 1
            result.compressedClusters += 1
            // Compressed clusters are fragmented by nature: they take less than a cluster of the file.
            result.fragmentedClusters += 1
        }
    }

    private func checkAllocated(_ entry: L2Entry, isActive: Bool) -> Bool {
        let offset = entry.hostOffset
        if geometry.hasSubclusters, entry.allocationBits & entry.zeroBits != 0 {
            say("ERROR offset=\(hex(UInt64(offset))): Allocated cluster has corrupted subcluster allocation bitmap")
            result.corruptions += 1
        }
        if geometry.offsetInCluster(offset) != 0 {
            let holdsData = geometry.hasSubclusters ? entry.allocationBits != 0 : !entry.zeroFlag
            let isRepaired = !holdsData && repair == .all
            result.corruptions += 1
            say(
                "\(prefix(isRepaired)) offset=\(hex(UInt64(offset))): \(holdsData ? "Data" : "Preallocated") cluster is "
                    + "not properly aligned; L2 entry corrupted.")
            if isRepaired { return true }
        }
        if isActive {
            result.allocatedClusters += 1
            if nextContiguous != 0, offset != nextContiguous { result.fragmentedClusters += 1 }
            nextContiguous = offset + geometry.clusterSize
        }
        if !header.hasDataFile { count(UInt64(offset), geometry.clusterSize) }
        return false
    }
}
