/// What negotiation tells about one export.
public struct NBDExportInfo: Sendable, Hashable {
    /// The name that clients ask for; compared byte by byte.
    public var name: String
    /// A line for people, or nil.
    public var description: String?
    /// Size in bytes, as it will be for the whole life of a connection.
    public var size: UInt64
    /// Whether clients may change the data.
    public var isWritable: Bool
    /// Whether `NBD_FLAG_CAN_MULTI_CONN` is offered.
    public var canMultiConn: Bool
    /// Smallest unit and alignment, a power of two of at most 65536.
    public var minimumBlock: UInt32
    /// Smallest unit that is efficient, a power of two of at least `minimumBlock` and 512.
    public var preferredBlock: UInt32
    /// Largest payload in bytes.
    public var maximumPayload: UInt32
    /// Whether the context `qemu:allocation-depth` is offered.
    public var allocationDepth: Bool
    /// Names of the dirty bitmaps that are offered as `qemu:dirty-bitmap:NAME`, in the order of their context ids.
    public var bitmaps: [String]

    /// Describes an export; the defaults are those of the specification.
    public init(
        name: String, description: String? = nil, size: UInt64, isWritable: Bool = false, canMultiConn: Bool = true,
        minimumBlock: UInt32 = 1, preferredBlock: UInt32 = NBD.defaultPreferredBlock,
        maximumPayload: UInt32 = NBD.maximumPayload, allocationDepth: Bool = false, bitmaps: [String] = []
    ) {
        self.name = name
        self.description = description
        self.size = size
        self.isWritable = isWritable
        self.canMultiConn = canMultiConn
        self.minimumBlock = minimumBlock
        self.preferredBlock = preferredBlock
        self.maximumPayload = maximumPayload
        self.allocationDepth = allocationDepth
        self.bitmaps = bitmaps
    }

    /// The transmission flags towards a client with these headers.
    public func transmissionFlags(_ headers: NBDHeaderMode) -> NBDTransmissionFlags {
        var flags: NBDTransmissionFlags = [.hasFlags, .sendFlush, .sendFUA, .sendCache]
        if isWritable {
            flags.formUnion([.sendTrim, .sendWriteZeroes, .sendFastZero])
        } else {
            flags.insert(.readOnly)
        }
        if canMultiConn { flags.insert(.canMultiConn) }
        if headers != .simple { flags.insert(.sendDF) }
        if headers == .extended { flags.insert(.blockStatusPayload) }
        return flags
    }

    /// The metadata contexts of this export, in the order of their ids.
    public var contexts: [NBDMetaContext] {
        var contexts: [NBDMetaContext] = [.allocation]
        if allocationDepth { contexts.append(.allocationDepth) }
        for index in bitmaps.indices {
            contexts.append(.dirtyBitmap(index))
        }
        return contexts
    }

    /// The name on the wire of one of this export's contexts.
    public func contextName(_ context: NBDMetaContext) -> String {
        switch context {
        case .allocation: "base:allocation"
        case .allocationDepth: "qemu:allocation-depth"
        case .dirtyBitmap(let index): "qemu:dirty-bitmap:\(bitmaps[index])"
        }
    }
}

/// One metadata context of an export.
public enum NBDMetaContext: Sendable, Hashable {
    /// `base:allocation`
    case allocation
    /// `qemu:allocation-depth`
    case allocationDepth
    /// `qemu:dirty-bitmap:NAME`, by the index in ``NBDExportInfo/bitmaps``
    case dirtyBitmap(Int)

    /// The id on the wire: 0, 1, and from 2 on the bitmaps.
    public var id: UInt32 {
        switch self {
        case .allocation: 0
        case .allocationDepth: 1
        case .dirtyBitmap(let index): 2 + UInt32(truncatingIfNeeded: index)
        }
    }
}

/// Which headers the two sides agreed on.
public enum NBDHeaderMode: Sendable, Hashable {
    /// Compact requests, simple replies.
    case simple
    /// Compact requests, structured replies where they matter.
    case structured
    /// Extended requests and replies.
    case extended

    /// Bytes of a request header.
    public var requestSize: Int { self == .extended ? NBD.extendedRequestSize : NBD.compactRequestSize }
}

/// What negotiation agreed on: all that the transmission phase needs to know.
public struct NBDSession: Sendable, Hashable {
    /// The export, with the size that this client was told.
    public var export: NBDExportInfo
    /// The agreed headers.
    public var headers: NBDHeaderMode
    /// The metadata contexts that the client selected for this export, in the order of their ids.
    public var contexts: [NBDMetaContext]
    /// The alignment that the client must keep: the export's if the client asked for it, else 1.
    public var minimumBlock: UInt32

    /// Makes a session; negotiation does so, and tests.
    public init(
        export: NBDExportInfo, headers: NBDHeaderMode = .simple, contexts: [NBDMetaContext] = [],
        minimumBlock: UInt32 = 1
    ) {
        self.export = export
        self.headers = headers
        self.contexts = contexts
        self.minimumBlock = minimumBlock
    }
}
