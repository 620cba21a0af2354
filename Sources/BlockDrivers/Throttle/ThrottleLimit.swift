/// One of the six rates that a throttle group can limit.
public enum ThrottleRate: Int, CaseIterable, Sendable {
    /// Bytes per second of all requests.
    case bytesTotal
    /// Bytes per second of reads.
    case bytesRead
    /// Bytes per second of writes, of zeroing and of discards.
    case bytesWritten
    /// Requests per second.
    case requestsTotal
    /// Reads per second.
    case requestsRead
    /// Writes per second, zeroing and discards among them.
    case requestsWritten

    /// The name in QMP.
    public var name: String {
        switch self {
        case .bytesTotal: "bps-total"
        case .bytesRead: "bps-read"
        case .bytesWritten: "bps-write"
        case .requestsTotal: "iops-total"
        case .requestsRead: "iops-read"
        case .requestsWritten: "iops-write"
        }
    }

    /// Whether the rate counts bytes rather than requests.
    var countsBytes: Bool { rawValue < 3 }
}

/// The limit of one rate.
public struct ThrottleLimit: Hashable, Sendable {
    /// The rate that holds in the long run, per second; 0 for no limit.
    public var average: Int64 = 0
    /// The rate of a burst, per second; 0 for none.
    public var burst: Int64 = 0
    /// How many seconds a burst may last.
    public var burstLength: Int64 = 1

    /// No limit.
    public init() {}
}
