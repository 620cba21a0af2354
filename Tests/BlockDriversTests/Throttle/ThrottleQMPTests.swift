import BlockDrivers
import BlockGraph
import JSON
import QMPSchema
import Testing

@Suite struct ThrottleQMPTests {
    @Test func `limits come after the properties with x-`() throws {
        var properties = ThrottleGroupProperties()
        properties.xIopsTotal = 7
        properties.xBpsRead = 3
        properties.limits = ThrottleLimits()
        properties.limits?.iopsTotal = 5
        let configuration = try ThrottleConfiguration(properties)
        #expect(configuration["iops-total"] == 5 && configuration["bps-read"] == 3)
        #expect(configuration.members.count == 19)
        #expect(configuration.members["iops-total"] == 5 && configuration.members["iops-read-max-length"] == 1)
        properties.xBpsRead = -1
        #expect(throws: BlockError("Property values cannot be negative")) { _ = try ThrottleConfiguration(properties) }
    }

    @Test func `limits that are not given stay`() throws {
        let group = try ThrottleGroup(name: "g", clock: ManualClock())
        var limits = ThrottleLimits()
        limits.bpsTotal = 100
        limits.bpsTotalMax = 200
        try group.update(limits)
        limits = ThrottleLimits()
        limits.bpsTotal = 150
        try group.update(limits)
        #expect(group.configuration["bps-total"] == 150 && group.configuration["bps-total-max"] == 200)
        limits.bpsTotal = 300
        #expect(throws: BlockError("bps_max/iops_max cannot be lower than bps/iops")) { try group.update(limits) }
    }
}
