import BlockGraph

/// Clusters that no table refers to any more, on their way to being free.
struct ReleasedClusters: Sendable {
    /// Whole clusters, each of which loses one reference.
    var range: ByteRange
    let reason: Qcow2Image.ReleaseReason
    /// Whether no table ever referred to them, so that there is nothing to discard.
    var isAbandoned = false
}

/// Holds released clusters back until the tables on disk do not refer to them and every request that may still use them
/// is done.
///
/// Clusters go through four lists. *Released*: the tables in memory do not refer to them. *Durable*: those on disk do not
/// either. *Leaving*: waiting for the requests that began before a certain moment after that. *Free*: nobody can use them.
/// Requests are counted in two epochs; a request that begins after the change of epochs cannot find the clusters.
struct Quarantine: Sendable {
    private var released: [ReleasedClusters] = []
    private var durable: [ReleasedClusters] = []
    private var leaving: [ReleasedClusters] = []
    private var free: [ReleasedClusters] = []
    private var epoch = 0
    private var requests = (0, 0)

    /// The bytes that the next commit brings further: released and free ones.
    private(set) var byteCount: Int64 = 0

    /// A request begins: the epoch that it belongs to.
    mutating func beginRequest() -> Int {
        if epoch == 0 { requests.0 += 1 } else { requests.1 += 1 }
        return epoch
    }

    /// A request of an epoch ends.
    mutating func endRequest(_ epoch: Int) {
        if epoch == 0 { requests.0 -= 1 } else { requests.1 -= 1 }
        if epoch != self.epoch, !leaving.isEmpty { advance() }
    }

    /// The number of requests under way.
    var requestCount: Int { requests.0 + requests.1 }

    /// Takes clusters that the tables in memory do not refer to any more.
    mutating func release(_ clusters: ReleasedClusters) {
        byteCount += clusters.range.length
        if let last = released.last, last.range.upperBound == clusters.range.lowerBound, last.reason == clusters.reason
        {
            released[released.count - 1].range = last.range.lowerBound..<clusters.range.upperBound
        } else {
            released.append(clusters)
        }
    }

    /// Takes clusters that no table ever referred to.
    mutating func abandon(_ clusters: ReleasedClusters) {
        byteCount += clusters.range.length
        free.append(clusters)
    }

    /// Takes the released clusters out for a commit that begins now.
    mutating func takeReleased() -> [ReleasedClusters] {
        defer { released = [] }
        for clusters in released { byteCount -= clusters.range.length }
        return released
    }

    /// The commit has ended: the clusters go on, or back to the beginning.
    mutating func finishCommit(_ clusters: [ReleasedClusters], failed: Bool) {
        if failed {
            released.insert(contentsOf: clusters, at: 0)
            for clusters in clusters { byteCount += clusters.range.length }
        } else {
            durable += clusters
            advance()
        }
    }

    /// Takes out what is free.
    mutating func takeFree() -> [ReleasedClusters] {
        defer { free = [] }
        for clusters in free { byteCount -= clusters.range.length }
        return free
    }

    /// Whether a commit would bring something further.
    var canAdvance: Bool { !released.isEmpty || !free.isEmpty }
    /// Whether nothing is on its way.
    var isEmpty: Bool { released.isEmpty && durable.isEmpty && leaving.isEmpty && free.isEmpty }

    /// Moves clusters on where no request keeps them.
    private mutating func advance() {
        while true {
            if !leaving.isEmpty {
                guard (epoch == 0 ? requests.1 : requests.0) == 0 else { return }
                free += leaving
                for clusters in leaving { byteCount += clusters.range.length }
                leaving = []
            }
            guard !durable.isEmpty else { return }
            leaving = durable
            durable = []
            epoch = 1 - epoch
        }
    }
}
