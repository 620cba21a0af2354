import BlockDrivers
import BlockGraph
import QMPSchema

extension BlkdebugConfiguration {
    /// The configuration that QMP's options say.
    init(_ options: BlockdevOptionsBlkdebug) {
        self.init()
        configFile = options.config
        align = options.align
        maxTransfer = options.maxTransfer.map(Int64.init)
        optWriteZero = options.optWriteZero.map(Int64.init)
        maxWriteZero = options.maxWriteZero.map(Int64.init)
        optDiscard = options.optDiscard.map(Int64.init)
        maxDiscard = options.maxDiscard.map(Int64.init)
        injectError = (options.injectError ?? []).map(BlkdebugInjectError.init)
        setState = (options.setState ?? []).map(BlkdebugSetState.init)
        takeChildPermissions = BlockPermissions(options.takeChildPerms ?? [])
        unshareChildPermissions = BlockPermissions(options.unshareChildPerms ?? [])
    }
}

extension BlkdebugInjectError {
    /// The rule that QMP's options say.
    init(_ options: BlkdebugInjectErrorOptions) {
        self.init(event: DebugEvent(rawValue: options.event.rawValue))
        state = options.state
        ioType = options.iotype.flatMap { BlockDrivers.BlkdebugIOType(rawValue: $0.rawValue) }
        errno = options.errno
        delayNanoseconds = options.delayNs
        sector = options.sector
        once = options.once
        immediately = options.immediately
    }
}

extension BlkdebugSetState {
    /// The rule that QMP's options say.
    init(_ options: BlkdebugSetStateOptions) {
        self.init(
            event: DebugEvent(rawValue: options.event.rawValue), state: options.state, newState: options.newState)
    }
}

extension BlockPermissions {
    /// The permissions that QMP names.
    init(_ names: [BlockPermission]) {
        self = names.reduce(into: []) { set, name in
            switch name {
            case .consistentRead: set.insert(.consistentRead)
            case .write: set.insert(.write)
            case .writeUnchanged: set.insert(.writeUnchanged)
            case .resize: set.insert(.resize)
            }
        }
    }
}
