import BlockGraph

/// The limits of a throttle group. The names are those of QMP's `ThrottleLimits`.
public struct ThrottleConfiguration: Hashable, Sendable {
    /// The largest rate that can be set.
    public static let maximumRate: Int64 = 1_000_000_000_000_000

    private var limits = [ThrottleLimit](repeating: ThrottleLimit(), count: ThrottleRate.allCases.count)
    /// The bytes that count as one request where requests are counted; 0: each request counts as one.
    public var requestSize: Int64 = 0

    /// No limits.
    public init() {}

    /// The limit of a rate.
    public subscript(rate: ThrottleRate) -> ThrottleLimit {
        get { limits[rate.rawValue] }
        set { limits[rate.rawValue] = newValue }
    }

    /// Whether anything is limited.
    public var isLimiting: Bool { limits.contains { $0.average > 0 } }

    // MARK: By name

    private enum Field: Sendable {
        case average(ThrottleRate)
        case burst(ThrottleRate)
        case burstLength(ThrottleRate)
        case requestSize
    }

    private static let fields: [(name: String, field: Field)] =
        ThrottleRate.allCases.flatMap { rate -> [(name: String, field: Field)] in
            [
                ("\(rate.name)", .average(rate)), ("\(rate.name)-max", .burst(rate)),
                ("\(rate.name)-max-length", .burstLength(rate)),
            ]
        } + [("iops-size", .requestSize)]

    private static let fieldsByName = Dictionary(uniqueKeysWithValues: fields.map { ($0.name, $0.field) })

    /// The names of all members: "bps-total", "bps-total-max", "bps-total-max-length", ... "iops-size".
    public static let names: [String] = fields.map(\.name)

    /// The member of a name; nil where there is none of that name.
    public subscript(name: String) -> Int64? {
        switch Self.fieldsByName[name] {
        case .average(let rate): self[rate].average
        case .burst(let rate): self[rate].burst
        case .burstLength(let rate): self[rate].burstLength
        case .requestSize: requestSize
        case nil: nil
        }
    }

    /// Sets a member, unchecked but for the range of the burst lengths; false where there is none of that name.
    ///
    /// Error: a burst length of more than 2^32 - 1 seconds.
    public mutating func set(_ name: String, to value: Int64) throws(BlockError) -> Bool {
        switch Self.fieldsByName[name] {
        case .average(let rate): self[rate].average = value
        case .burst(let rate): self[rate].burst = value
        case .burstLength(let rate):
            if value > Int64(UInt32.max) {
                throw BlockError("\(name) value must be in the range [0, \(UInt32.max)]")
            }
            self[rate].burstLength = value
        case .requestSize: requestSize = value
        case nil: return false
        }
        return true
    }

    /// Sets a member by its name as a property of the object, "x-bps-total" and so on; false where there is no such one.
    ///
    /// Errors: the value is negative; a burst length of more than 2^32 - 1 seconds.
    public mutating func setProperty(_ property: String, to value: Int64) throws(BlockError) -> Bool {
        guard property.hasPrefix("x-"), self[String(property.dropFirst(2))] != nil else { return false }
        if value < 0 { throw BlockError("Property values cannot be negative") }
        let name = String(property.dropFirst(2))
        if name.hasSuffix("-max-length"), value > Int64(UInt32.max) {
            // A blank is missing in the original, too: scripts compare the text.
            throw BlockError("\(property) value must be in therange [0, \(UInt32.max)]")
        }
        return try set(name, to: value)
    }

    // MARK: Checks

    /// Checks that the limits go together. Errors, in QEMU's words: for the first of the rules below that is broken.
    public func check() throws(BlockError) {
        for total in [ThrottleRate.bytesTotal, .requestsTotal] {
            let kinds = ThrottleRate.allCases.filter { $0 != total && $0.countsBytes == total.countsBytes }
            let sharesAverage = self[total].average != 0 && kinds.contains { self[$0].average != 0 }
            let sharesBurst = self[total].burst != 0 && kinds.contains { self[$0].burst != 0 }
            if sharesAverage || sharesBurst {
                throw BlockError("bps/iops/max total values and read/write values cannot be used at the same time")
            }
        }
        let countsRequests = ThrottleRate.allCases.contains { !$0.countsBytes && self[$0].average != 0 }
        if requestSize != 0, !countsRequests { throw BlockError("iops size requires an iops value to be set") }
        for limit in limits { try limit.check() }
    }
}

extension ThrottleLimit {
    fileprivate func check() throws(BlockError) {
        let maximum = ThrottleConfiguration.maximumRate
        guard 0...maximum ~= average, 0...maximum ~= burst else {
            throw BlockError("bps/iops/max values must be within [0, \(maximum)]")
        }
        if burstLength == 0 { throw BlockError("the burst length cannot be 0") }
        if burstLength != 1, burst == 0 { throw BlockError("burst length set without burst rate") }
        // A negative length is a huge one.
        let (product, overflow) = burst.multipliedReportingOverflow(by: burstLength)
        if overflow || product > maximum || burstLength < 0 {
            throw BlockError("burst length too high for this burst rate")
        }
        if burst != 0, average == 0 { throw BlockError("bps_max/iops_max require corresponding bps/iops values") }
        if burst != 0, burst < average { throw BlockError("bps_max/iops_max cannot be lower than bps/iops") }
    }
}
