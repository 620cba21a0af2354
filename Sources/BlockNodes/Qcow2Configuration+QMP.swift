import BlockDrivers
import QMPSchema

extension Qcow2Configuration {
    /// The configuration that QMP's options say.
    init(_ options: BlockdevOptionsQcow2) {
        self.init()
        lazyRefcounts = options.lazyRefcounts
        passDiscardRequest = options.passDiscardRequest
        passDiscardSnapshot = options.passDiscardSnapshot
        passDiscardOther = options.passDiscardOther
        discardNoUnref = options.discardNoUnref
        overlapCheck = options.overlapCheck.flatMap(BlockDrivers.Qcow2OverlapChecks.init)
        cacheSize = options.cacheSize
        l2CacheSize = options.l2CacheSize
        l2CacheEntrySize = options.l2CacheEntrySize
        refcountCacheSize = options.refcountCacheSize
        cacheCleanInterval = options.cacheCleanInterval
    }
}

extension BlockDrivers.Qcow2OverlapChecks {
    /// The checks that QMP's option says.
    fileprivate init?(_ option: QMPSchema.Qcow2OverlapChecks) {
        switch option {
        case .mode(let mode): self.init(mode: mode.rawValue)
        case .flags(let flags): self.init(flags)
        }
    }

    private init?(_ flags: Qcow2OverlapCheckFlags) {
        self.init(mode: (flags.template ?? .cached).rawValue)
        let members: [(Bool?, Self)] = [
            (flags.mainHeader, .mainHeader), (flags.activeL1, .activeL1), (flags.activeL2, .activeL2),
            (flags.refcountTable, .refcountTable), (flags.refcountBlock, .refcountBlock),
            (flags.snapshotTable, .snapshotTable), (flags.inactiveL1, .inactiveL1), (flags.inactiveL2, .inactiveL2),
            (flags.bitmapDirectory, .bitmapDirectory),
        ]
        for case (let isOn?, let check) in members {
            if isOn { insert(check) } else { remove(check) }
        }
    }
}
