/// Options that a client may send while negotiating. Spec: nbd-protocol.md, "Option types".
public enum NBDOption: UInt32, Sendable, CaseIterable {
    /// `NBD_OPT_EXPORT_NAME`
    case exportName = 1
    /// `NBD_OPT_ABORT`
    case abort = 2
    /// `NBD_OPT_LIST`
    case list = 3
    /// `NBD_OPT_STARTTLS`
    case startTLS = 5
    /// `NBD_OPT_INFO`
    case info = 6
    /// `NBD_OPT_GO`
    case go = 7
    /// `NBD_OPT_STRUCTURED_REPLY`
    case structuredReply = 8
    /// `NBD_OPT_LIST_META_CONTEXT`
    case listMetaContext = 9
    /// `NBD_OPT_SET_META_CONTEXT`
    case setMetaContext = 10
    /// `NBD_OPT_EXTENDED_HEADERS`
    case extendedHeaders = 11

    /// The name that error texts use.
    public var name: String {
        switch self {
        case .exportName: "export name"
        case .abort: "abort"
        case .list: "list"
        case .startTLS: "starttls"
        case .info: "info"
        case .go: "go"
        case .structuredReply: "structured reply"
        case .listMetaContext: "list meta context"
        case .setMetaContext: "set meta context"
        case .extendedHeaders: "extended headers"
        }
    }
}

/// Types of the replies to an option. Spec: nbd-protocol.md, "Option reply types".
public enum NBDOptionReplyType: UInt32, Sendable {
    /// `NBD_REP_ACK`
    case ack = 1
    /// `NBD_REP_SERVER`
    case server = 2
    /// `NBD_REP_INFO`
    case info = 3
    /// `NBD_REP_META_CONTEXT`
    case metaContext = 4
    /// `NBD_REP_ERR_UNSUP`
    case unsupported = 0x8000_0001
    /// `NBD_REP_ERR_POLICY`
    case policy = 0x8000_0002
    /// `NBD_REP_ERR_INVALID`
    case invalid = 0x8000_0003
    /// `NBD_REP_ERR_PLATFORM`
    case platform = 0x8000_0004
    /// `NBD_REP_ERR_TLS_REQD`
    case tlsRequired = 0x8000_0005
    /// `NBD_REP_ERR_UNKNOWN`
    case unknown = 0x8000_0006
    /// `NBD_REP_ERR_SHUTDOWN`
    case shutdown = 0x8000_0007
    /// `NBD_REP_ERR_BLOCK_SIZE_REQD`
    case blockSizeRequired = 0x8000_0008
    /// `NBD_REP_ERR_TOO_BIG`
    case tooBig = 0x8000_0009
    /// `NBD_REP_ERR_EXT_HEADER_REQD`
    case extendedHeaderRequired = 0x8000_000a
}

/// Kinds of information in `NBD_REP_INFO`.
public enum NBDInfoType: UInt16, Sendable {
    /// `NBD_INFO_EXPORT`
    case export = 0
    /// `NBD_INFO_NAME`
    case name = 1
    /// `NBD_INFO_DESCRIPTION`
    case description = 2
    /// `NBD_INFO_BLOCK_SIZE`
    case blockSize = 3
}

/// Request types. Spec: nbd-protocol.md, "Request types".
public enum NBDCommand: UInt16, Sendable, CaseIterable {
    /// `NBD_CMD_READ`
    case read = 0
    /// `NBD_CMD_WRITE`
    case write = 1
    /// `NBD_CMD_DISC`
    case disconnect = 2
    /// `NBD_CMD_FLUSH`
    case flush = 3
    /// `NBD_CMD_TRIM`
    case trim = 4
    /// `NBD_CMD_CACHE`
    case cache = 5
    /// `NBD_CMD_WRITE_ZEROES`
    case writeZeroes = 6
    /// `NBD_CMD_BLOCK_STATUS`
    case blockStatus = 7

    /// The name that error texts use.
    public var name: String {
        switch self {
        case .read: "read"
        case .write: "write"
        case .disconnect: "disconnect"
        case .flush: "flush"
        case .trim: "trim"
        case .cache: "cache"
        case .writeZeroes: "write zeroes"
        case .blockStatus: "block status"
        }
    }

    /// Whether the command changes the export, and so needs a writable one.
    public var modifies: Bool {
        switch self {
        case .write, .trim, .writeZeroes: true
        case .read, .disconnect, .flush, .cache, .blockStatus: false
        }
    }
}

/// Types of structured and extended reply chunks. Spec: nbd-protocol.md, "Structured reply types".
public enum NBDReplyType: UInt16, Sendable {
    /// `NBD_REPLY_TYPE_NONE`
    case none = 0
    /// `NBD_REPLY_TYPE_OFFSET_DATA`
    case offsetData = 1
    /// `NBD_REPLY_TYPE_OFFSET_HOLE`
    case offsetHole = 2
    /// `NBD_REPLY_TYPE_BLOCK_STATUS`
    case blockStatus = 5
    /// `NBD_REPLY_TYPE_BLOCK_STATUS_EXT`
    case blockStatusExtended = 6
    /// `NBD_REPLY_TYPE_ERROR`
    case error = 0x8001
    /// `NBD_REPLY_TYPE_ERROR_OFFSET`
    case errorOffset = 0x8002
}
