import Qcow2Format

/// How often each host cluster is referred to, in the form of refcount blocks.
///
/// Blocks come into being when their first cluster is counted, so that memory follows what is in use, not the file's
/// length; counts have the image's width.
struct ReferenceCounts {
    let geometry: Qcow2Geometry
    private(set) var blocks: [Int: [UInt8]] = [:]

    init(_ geometry: Qcow2Geometry) { self.geometry = geometry }

    /// The count of a cluster.
    subscript(cluster: Int64) -> UInt64 {
        guard let block = blocks[index(cluster)] else { return 0 }
        return block.withUnsafeBytes {
            RefcountBlock.refcount(in: $0, at: entry(cluster), order: geometry.refcountOrder)
        }
    }

    /// Counts a cluster once more. False if the count has its greatest value already.
    mutating func increase(_ cluster: Int64) -> Bool {
        let entry = entry(cluster)
        let order = geometry.refcountOrder
        let limit = geometry.maximumRefcount
        let empty = geometry.clusterSize
        return blocks[index(cluster), default: [UInt8](repeating: 0, count: Int(empty))].withUnsafeMutableBytes {
            block in
            let old = RefcountBlock.refcount(in: UnsafeRawBufferPointer(block), at: entry, order: order)
            guard old < limit else { return false }
            RefcountBlock.setRefcount(old + 1, in: block, at: entry, order: order)
            return true
        }
    }

    /// The last cluster with a count, or -1.
    var lastCluster: Int64 {
        for index in blocks.keys.sorted(by: >) {
            guard let block = blocks[index] else { continue }
            for entry in stride(from: geometry.refcountBlockEntryCount - 1, through: 0, by: -1) {
                let count = block.withUnsafeBytes {
                    RefcountBlock.refcount(in: $0, at: entry, order: geometry.refcountOrder)
                }
                if count != 0 { return Int64(index) << Int64(geometry.refcountBlockEntryCountBits) + Int64(entry) }
            }
        }
        return -1
    }

    private func index(_ cluster: Int64) -> Int { Int(cluster >> Int64(geometry.refcountBlockEntryCountBits)) }
    private func entry(_ cluster: Int64) -> Int { Int(cluster) & (geometry.refcountBlockEntryCount - 1) }
}
