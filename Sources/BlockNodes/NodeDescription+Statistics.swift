import BlockDrivers
import BlockGraph
import IOLoop
import QMPSchema

extension NodeDescription {
    /// What `query-blockstats` tells of the node: counters of devices, which nodes do not keep, are 0.
    public var statistics: BlockStats {
        var stats = BlockStats(nodeName: node.name, stats: .zero)
        stats.stats.wrHighestOffset = node.statistics.writeHighestOffset
        if let file = node.driver as? FileDriver { stats.driverSpecific = file.blockStatistics }
        let primary = node.children.first { $0.role.contains(.primary) && !$0.role.contains(.copyOnWrite) }
        if let primary { stats.parent = NodeDescription(primary.node).statistics }
        return stats
    }
}

extension FileDriver {
    /// What QMP tells of the discards that reached the file.
    var blockStatistics: BlockStatsSpecific {
        let counts = discardCounts
        let values = BlockStatsSpecificFile(
            discardNbOk: counts.succeeded, discardNbFailed: counts.failed, discardBytesOk: counts.bytes)
        return BlockStatsSpecific(driver: configuration.kind == .file ? .file(values) : .hostDevice(values))
    }
}

extension BlockDeviceStats {
    /// Counters at zero.
    static var zero: BlockDeviceStats {
        BlockDeviceStats(
            rdBytes: 0, wrBytes: 0, zoneAppendBytes: 0, unmapBytes: 0, rdOperations: 0, wrOperations: 0,
            zoneAppendOperations: 0, flushOperations: 0, unmapOperations: 0, rdTotalTimeNs: 0, wrTotalTimeNs: 0,
            zoneAppendTotalTimeNs: 0, flushTotalTimeNs: 0, unmapTotalTimeNs: 0, wrHighestOffset: 0, rdMerged: 0,
            wrMerged: 0, zoneAppendMerged: 0, unmapMerged: 0, failedRdOperations: 0, failedWrOperations: 0,
            failedZoneAppendOperations: 0, failedFlushOperations: 0, failedUnmapOperations: 0, invalidRdOperations: 0,
            invalidWrOperations: 0, invalidZoneAppendOperations: 0, invalidFlushOperations: 0,
            invalidUnmapOperations: 0, accountInvalid: false, accountFailed: false, timedStats: [])
    }
}
