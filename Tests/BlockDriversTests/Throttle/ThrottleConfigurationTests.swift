import BlockDrivers
import BlockGraph
import Testing

/// What a throttle group says of its limits. All texts as given by qemu-storage-daemon 11.1.3.
@Suite struct ThrottleConfigurationTests {
    static let limit = ThrottleConfiguration.maximumRate
    static let range = "bps/iops/max values must be within [0, 1000000000000000]"
    static let conflict = "bps/iops/max total values and read/write values cannot be used at the same time"
    static let required = "bps_max/iops_max require corresponding bps/iops values"
    static let lower = "bps_max/iops_max cannot be lower than bps/iops"
    static let zeroLength = "the burst length cannot be 0"
    static let noRate = "burst length set without burst rate"
    static let tooLong = "burst length too high for this burst rate"
    static let noRequests = "iops size requires an iops value to be set"

    static func refusal(_ members: [String: Int64]) -> String? {
        do throws(BlockError) {
            var configuration = ThrottleConfiguration()
            for (name, value) in members where try !configuration.set(name, to: value) { return "no such member" }
            try configuration.check()
            return nil
        } catch {
            return error.description
        }
    }

    @Test(
        arguments: [
            ([:], nil), (["iops-total": limit], nil), (["iops-total": -1], range), (["iops-total": limit + 1], range),
            (["bps-total": 1, "bps-read": 1], conflict), (["iops-total": 1, "iops-write": 1], conflict),
            (["bps-total-max": 1, "bps-read-max": 1], conflict), (["bps-total": 1, "iops-read": 1], nil),
            (["bps-total-max": 1], required), (["bps-total": 100, "bps-total-max": 50], lower),
            (["bps-total": 100, "bps-read-max": 100], required),
            (["iops-total": 100, "iops-total-max-length": 0], zeroLength),
            (["iops-total": 100, "iops-total-max-length": 1], nil),
            (["iops-total": 100, "iops-total-max-length": 2], noRate),
            (["iops-total": 100, "iops-total-max": 1000, "iops-total-max-length": 4_294_967_295], nil),
            (
                ["iops-total": 100, "iops-total-max": 1000, "iops-total-max-length": 4_294_967_296],
                "iops-total-max-length value must be in the range [0, 4294967295]"
            ),
            (["iops-total": 100, "iops-total-max": 1000, "iops-total-max-length": -1], tooLong),
            (["iops-total": 10, "iops-total-max-length": -1], noRate),
            (["iops-total": 100, "iops-total-max": limit, "iops-total-max-length": 10], tooLong),
            (["iops-total": 100, "iops-total-max": limit / 10, "iops-total-max-length": 10], nil),
            (["iops-total": 100, "iops-total-max": limit / 10 + 1, "iops-total-max-length": 10], tooLong),
            (["iops-size": 4096], noRequests), (["iops-size": -1], noRequests),
            (["iops-total": 1, "iops-size": -1], nil),
            (["iops-total": 1, "iops-size": limit * 10], nil), (["iops-total": 100, "iops-total-max": -1], range),
            // Which rule comes first.
            (["bps-write": limit + 1, "iops-size": 1], noRequests),
            (["iops-write": limit + 1, "bps-read-max-length": 0], zeroLength),
            (["bps-read": 5, "bps-read-max": 3, "iops-write": limit + 1], lower),
            (["bps-read": limit + 1, "bps-read-max-length": 5], range),
            (["bps-read-max": 5, "bps-read-max-length": 0], zeroLength),
            (["bps-read-max": limit, "bps-read-max-length": 100], tooLong),
            (["bps-total": 1, "bps-read": 1, "bps-write": limit + 1], conflict),
            (["bps-total-max": 3, "iops-total": -1], required), (["bps-write-max": 3, "bps-read": -1], range),
            (["bps-write": -1, "bps-read-max": 3], required),
        ] as [([String: Int64], String?)])
    func `limits are checked in QEMU's order and words`(members: [String: Int64], refusal: String?) {
        #expect(Self.refusal(members) == refusal)
    }

    @Test func `properties have checks of their own`() throws {
        var configuration = ThrottleConfiguration()
        func refusal(_ property: String, _ value: Int64) -> String? {
            do throws(BlockError) {
                return try configuration.setProperty(property, to: value) ? nil : "no such property"
            } catch {
                return error.description
            }
        }
        #expect(refusal("x-iops-total", -1) == "Property values cannot be negative")
        #expect(refusal("x-iops-size", -1) == "Property values cannot be negative")
        #expect(
            refusal("x-iops-total-max-length", 4_294_967_296)
                == "x-iops-total-max-length value must be in therange [0, 4294967295]")
        #expect(refusal("x-bps-read-max", 7) == nil)
        #expect(configuration["bps-read-max"] == 7 && configuration[.bytesRead].burst == 7)
        #expect(refusal("bps-read", 7) == "no such property")
        #expect(refusal("x-nope", 7) == "no such property")
    }

    @Test func `an update changes what it names, or nothing`() throws {
        let group = try ThrottleGroup(name: "g", clock: ManualClock())
        try group.update([("iops-total", 100), ("iops-total-max", 1000), ("iops-total-max-length", 3), ("bps-read", 5)])
        try group.update([("iops-total", 200)])
        #expect(group.configuration["iops-total"] == 200 && group.configuration["iops-total-max-length"] == 3)
        #expect(throws: BlockError(Self.lower)) { try group.update([("iops-total", 2000)]) }
        #expect(throws: BlockError(Self.conflict)) { try group.update([("bps-total", 2000)]) }
        #expect(throws: BlockError("Parameter 'limits.x' is unexpected")) { try group.update([("x", 5)]) }
        #expect(group.configuration["iops-total"] == 200 && group.configuration["bps-total"] == 0)
        try group.update([("iops-total-max-length", 1), ("iops-total-max", 0)])
        #expect(ThrottleConfiguration.names.count == 19)
        #expect(ThrottleConfiguration.names.allSatisfy { group.configuration[$0] != nil })
    }
}
