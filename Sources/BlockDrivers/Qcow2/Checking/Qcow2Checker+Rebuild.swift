import BlockGraph
import IOLoop
import Qcow2Format

/// Writing new refcount structures where the old ones are too broken to be repaired.
extension Qcow2Checker {
    /// Writes new structures, and checks again what is left.
    func rebuildAndCount() async throws(Errno) {
        say("Rebuilding refcount structure")
        try await rebuildRefcounts()
        let before = result
        result = Qcow2CheckResult()
        result.corruptions = snapshotErrors
        needsRebuild = false
        cachedBlock = nil
        fileLength = file.length
        try await countReferences()
        try await compare(repair: .none)
        result.corruptionsFixed = before.corruptionsFixed + max(0, before.corruptions - result.corruptions)
        result.leaksFixed = before.leaksFixed + max(0, before.leaks - result.leaks)
        if needsRebuild { say("ERROR rebuilt refcount structure is still broken") }
    }

    /// Writes a new refcount table and new blocks behind all that is in use, and lets the header point to them.
    ///
    /// Until the header is written, the image is what it was. EFBIG: the table would be too large.
    func rebuildRefcounts() async throws(Errno) {
        let plan = try await planRefcounts()
        let start = plan.start
        var all = plan.used
        for cluster in start..<plan.end { _ = all.increase(cluster) }

        var table = [UInt8](repeating: 0, count: Int(plan.tableClusters) << geometry.clusterBits)
        for (number, index) in plan.blocks.enumerated() {
            let offset = (start + Int64(number)) << Int64(geometry.clusterBits)
            try await write(all.blocks[index] ?? [], at: offset)
            table.withUnsafeMutableBytes {
                $0.storeBigEndian(RefcountTableEntry(offset: offset).rawValue, at: index * 8)
            }
        }
        let tableOffset = (start + Int64(plan.blocks.count)) << Int64(geometry.clusterBits)
        try await write(table, at: tableOffset)
        try await file.flush()
        var new = header
        new.refcountTableOffset = tableOffset
        new.refcountTableClusters = Int(plan.tableClusters)
        try await writeHeader(new)
        counts = all
        cachedBlock = nil
        fileLength = file.length
        refcountTable = try await readTable(UInt64(tableOffset), entryCount: table.count / 8)
    }

    /// Where the new structures go.
    fileprivate struct Plan {
        /// The references of everything else.
        var used: ReferenceCounts
        /// The first cluster; the blocks are first, then the table.
        var start: Int64
        /// The blocks' indexes in the table.
        var blocks: [Int] = []
        /// The clusters of the table.
        var tableClusters: Int64 = 1
        /// The cluster behind the last one.
        var end: Int64 { start + Int64(blocks.count) + tableClusters }
    }

    /// Finds a place behind the file's end. Entries that point there without right are in the way, and are counted.
    private func planRefcounts() async throws(Errno) -> Plan {
        var plan = Plan(used: ReferenceCounts(geometry), start: clusterCount)
        var length = fileLength
        while true {
            plan.used = try await countsWithoutRefcounts(fileLength: length)
            plan.start = max(plan.used.lastCluster + 1, clusterCount)
            try plan.fit(geometry)
            let end = plan.end << Int64(geometry.clusterBits)
            let again = try await countsWithoutRefcounts(fileLength: end)
            if again.lastCluster < plan.start {
                plan.used = again
                try plan.fit(geometry)
                return plan
            }
            length = end
        }
    }

    /// The references of everything but the refcount structures, in a file of the length. Findings are not told again.
    private func countsWithoutRefcounts(fileLength: Int64) async throws(Errno) -> ReferenceCounts {
        let quiet = Qcow2Checker(copyingForCount: self)
        quiet.fileLength = fileLength
        try await quiet.countReferences()
        return quiet.counts
    }
}

extension Qcow2Checker.Plan {
    /// Finds out which blocks are needed, and how large the table is. EFBIG: it is too large.
    fileprivate mutating func fit(_ geometry: Qcow2Geometry) throws(Errno) {
        blocks = used.blocks.keys.sorted()
        tableClusters = 1
        while true {
            let first = geometry.refcountTableIndex(of: start << Int64(geometry.clusterBits))
            let last = geometry.refcountTableIndex(of: (end - 1) << Int64(geometry.clusterBits))
            let needed = Set(used.blocks.keys).union(first...last)
            let size = geometry.clusterCount(Int64((needed.max() ?? 0) + 1) * 8)
            if size << Int64(geometry.clusterBits) > Int64(Qcow2.maximumRefcountTableSize) { throw .EFBIG }
            if needed.count <= blocks.count, size <= tableClusters { return }
            // Both only grow, so that this ends.
            blocks = needed.union(blocks).sorted()
            tableClusters = max(tableClusters, size)
        }
    }
}
