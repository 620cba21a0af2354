import BlockGraph
import QMPSchema

extension BlkdebugConfiguration {
    /// The configuration that QMP's options say. The image is the caller's.
    public init(_ options: BlockdevOptionsBlkdebug) {
        self.init()
        configFile = options.config
        align = options.align
        maxTransfer = options.maxTransfer.map(Int64.init)
        optWriteZero = options.optWriteZero.map(Int64.init)
        maxWriteZero = options.maxWriteZero.map(Int64.init)
        optDiscard = options.optDiscard.map(Int64.init)
        maxDiscard = options.maxDiscard.map(Int64.init)
        injectError = (options.injectError ?? []).map(BlkdebugInjectError.init)
        setState = (options.setState ?? []).map { rule in
            BlkdebugSetState(
                event: DebugEvent(rawValue: rule.event.rawValue), state: rule.state, newState: rule.newState)
        }
        takeChildPermissions = Self.permissions(options.takeChildPerms)
        unshareChildPermissions = Self.permissions(options.unshareChildPerms)
    }

    private static func permissions(_ names: [BlockPermission]?) -> BlockPermissions {
        (names ?? []).reduce(into: BlockPermissions()) { permissions, name in
            switch name {
            case .consistentRead: permissions.insert(.consistentRead)
            case .write: permissions.insert(.write)
            case .writeUnchanged: permissions.insert(.writeUnchanged)
            case .resize: permissions.insert(.resize)
            }
        }
    }
}

extension BlkdebugInjectError {
    fileprivate init(_ rule: BlkdebugInjectErrorOptions) {
        self.init(event: DebugEvent(rawValue: rule.event.rawValue))
        state = rule.state
        ioType = rule.iotype.flatMap { BlkdebugRequestKind(rawValue: $0.rawValue) }
        errno = rule.errno
        delayNanoseconds = rule.delayNs
        sector = rule.sector
        once = rule.once
        immediately = rule.immediately
    }
}
