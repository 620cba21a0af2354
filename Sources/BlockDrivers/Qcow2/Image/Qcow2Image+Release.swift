import BlockGraph
import IOLoop
import Synchronization

extension Qcow2Image {
    /// Why clusters are no longer needed, which decides whether the file is told (`pass-discard-*`).
    public enum ReleaseReason: Sendable {
        /// The guest discarded them.
        case guest
        /// A snapshot was deleted or applied.
        case snapshot
        /// Anything else: they were overwritten elsewhere, a table moved.
        case other
    }

    /// Takes one reference from each cluster that has a byte in the range, which the tables in memory do not refer to any
    /// more; also for the extent of compressed data.
    ///
    /// The refcounts go down, and the clusters can be used again, after the next commit and when the requests that are
    /// under way now have ended. Not for clusters in a data file, which have no refcounts and keep their place.
    public func release(_ range: ByteRange, reason: ReleaseReason) {
        guard !range.isEmpty else { return }
        let clusters = ReleasedClusters(range: range.aligned(outwardTo: layout.clusterSize), reason: reason)
        quarantine.withLock { $0.release(clusters) }
    }

    /// Makes clusters free that nobody can use any more. The commit lock is not held by the caller.
    ///
    /// Nobody hears of an error: the clusters leak.
    func freeClusters() async {
        let free = quarantine.withLock { $0.takeFree() }
        for clusters in free {
            if !clusters.isAbandoned { await fire(.clusterFree) }
            try? await makeFree(clusters)
        }
    }

    private func makeFree(_ clusters: ReleasedClusters) async throws(Errno) {
        let passes = !clusters.isAbandoned && passesDiscard(clusters.reason)
        // Before they are free: afterwards somebody may have written there.
        if passes { try await discardUnshared(clusters.range) }
        try await addReference(-1, to: clusters.range)
    }

    /// Discards those clusters of the range that have one reference, which is about to go.
    private func discardUnshared(_ range: ByteRange) async throws(Errno) {
        var start: Int64?
        var offset = range.lowerBound
        while offset < range.upperBound {
            let isLast = try await refcount(ofClusterAt: offset) == 1 && forgetByteCursor(in: offset)
            if isLast {
                start = start ?? offset
            } else if let first = start {
                try await file.node.discard(first..<offset)
                start = nil
            }
            offset += layout.clusterSize
        }
        if let start { try await file.node.discard(start..<range.upperBound) }
    }

    /// Makes sure that no more compressed data goes to the cluster at the offset, whose refcount is still 1; false where it
    /// is not.
    private func forgetByteCursor(in offset: Int64) -> Bool {
        tables.withLock { tables in
            let cluster = layout.cluster(offset)
            guard tables.byteCursor != 0, layout.cluster(tables.byteCursor) == cluster else { return true }
            guard case .value(1) = tables.refcount(of: cluster) else { return false }
            tables.byteCursor = 0
            return true
        }
    }

    private func passesDiscard(_ reason: ReleaseReason) -> Bool {
        let configuration = configuration
        return switch reason {
        case .guest: configuration.passDiscardRequest ?? (node.options.discard == .unmap)
        case .snapshot: configuration.passDiscardSnapshot ?? true
        case .other: configuration.passDiscardOther ?? false
        }
    }
}
