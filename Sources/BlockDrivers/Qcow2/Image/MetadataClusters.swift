/// The clusters that hold L2 tables and refcount blocks, to check that nothing else is written there.
struct MetadataClusters: Sendable {
    private var kinds: [Int64: UInt8] = [:]

    static let l2: UInt8 = 1
    static let refcountBlock: UInt8 = 2

    /// The kinds of structures in a cluster.
    func kinds(of cluster: Int64) -> UInt8 { kinds[cluster] ?? 0 }

    /// Whether there are none at all.
    var isEmpty: Bool { kinds.isEmpty }

    mutating func insert(_ cluster: Int64, _ kind: UInt8) { kinds[cluster, default: 0] |= kind }

    mutating func remove(_ cluster: Int64, _ kind: UInt8) {
        guard let old = kinds[cluster] else { return }
        kinds[cluster] = old & ~kind == 0 ? nil : old & ~kind
    }
}
