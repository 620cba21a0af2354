/// Handshake flags: the server's 16 bits, and the client's answer in 32 bits.
public struct NBDHandshakeFlags: OptionSet, Sendable, Hashable {
    /// The bits as on the wire.
    public let rawValue: UInt16

    /// Makes a set from the bits on the wire.
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    /// `NBD_FLAG_FIXED_NEWSTYLE`: unknown options are answered rather than fatal.
    public static let fixedNewstyle = NBDHandshakeFlags(rawValue: 1 << 0)
    /// `NBD_FLAG_NO_ZEROES`: no padding after the answer to `NBD_OPT_EXPORT_NAME`.
    public static let noZeroes = NBDHandshakeFlags(rawValue: 1 << 1)
}

/// Transmission flags: what an export offers. Spec: nbd-protocol.md, "Transmission flags".
public struct NBDTransmissionFlags: OptionSet, Sendable, Hashable {
    /// The bits as on the wire.
    public let rawValue: UInt16

    /// Makes a set from the bits on the wire.
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    /// `NBD_FLAG_HAS_FLAGS`: always set.
    public static let hasFlags = NBDTransmissionFlags(rawValue: 1 << 0)
    /// `NBD_FLAG_READ_ONLY`.
    public static let readOnly = NBDTransmissionFlags(rawValue: 1 << 1)
    /// `NBD_FLAG_SEND_FLUSH`.
    public static let sendFlush = NBDTransmissionFlags(rawValue: 1 << 2)
    /// `NBD_FLAG_SEND_FUA`.
    public static let sendFUA = NBDTransmissionFlags(rawValue: 1 << 3)
    /// `NBD_FLAG_ROTATIONAL`.
    public static let rotational = NBDTransmissionFlags(rawValue: 1 << 4)
    /// `NBD_FLAG_SEND_TRIM`.
    public static let sendTrim = NBDTransmissionFlags(rawValue: 1 << 5)
    /// `NBD_FLAG_SEND_WRITE_ZEROES`.
    public static let sendWriteZeroes = NBDTransmissionFlags(rawValue: 1 << 6)
    /// `NBD_FLAG_SEND_DF`: offered once structured replies are negotiated.
    public static let sendDF = NBDTransmissionFlags(rawValue: 1 << 7)
    /// `NBD_FLAG_CAN_MULTI_CONN`: a flush on one connection covers the writes of all.
    public static let canMultiConn = NBDTransmissionFlags(rawValue: 1 << 8)
    /// `NBD_FLAG_SEND_RESIZE`.
    public static let sendResize = NBDTransmissionFlags(rawValue: 1 << 9)
    /// `NBD_FLAG_SEND_CACHE`.
    public static let sendCache = NBDTransmissionFlags(rawValue: 1 << 10)
    /// `NBD_FLAG_SEND_FAST_ZERO`.
    public static let sendFastZero = NBDTransmissionFlags(rawValue: 1 << 11)
    /// `NBD_FLAG_BLOCK_STATUS_PAYLOAD`: offered once extended headers are negotiated.
    public static let blockStatusPayload = NBDTransmissionFlags(rawValue: 1 << 12)
}

/// Flags of a request. Spec: nbd-protocol.md, "Command flags".
public struct NBDCommandFlags: OptionSet, Sendable, Hashable {
    /// The bits as on the wire.
    public let rawValue: UInt16

    /// Makes a set from the bits on the wire.
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    /// `NBD_CMD_FLAG_FUA`: reply when the data is on stable storage.
    public static let fua = NBDCommandFlags(rawValue: 1 << 0)
    /// `NBD_CMD_FLAG_NO_HOLE`: write zeroes must leave the range allocated.
    public static let noHole = NBDCommandFlags(rawValue: 1 << 1)
    /// `NBD_CMD_FLAG_DF`: at most one content chunk.
    public static let dontFragment = NBDCommandFlags(rawValue: 1 << 2)
    /// `NBD_CMD_FLAG_REQ_ONE`: one extent per context, not longer than asked.
    public static let requestOne = NBDCommandFlags(rawValue: 1 << 3)
    /// `NBD_CMD_FLAG_FAST_ZERO`: fail with `NBD_ENOTSUP` rather than write the zeroes.
    public static let fastZero = NBDCommandFlags(rawValue: 1 << 4)
    /// `NBD_CMD_FLAG_PAYLOAD_LEN`: the length of an extended request counts payload bytes.
    public static let payloadLength = NBDCommandFlags(rawValue: 1 << 5)
}

/// Flags of a structured or extended reply chunk.
public struct NBDReplyFlags: OptionSet, Sendable, Hashable {
    /// The bits as on the wire.
    public let rawValue: UInt16

    /// Makes a set from the bits on the wire.
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    /// `NBD_REPLY_FLAG_DONE`: the last chunk of the reply.
    public static let done = NBDReplyFlags(rawValue: 1 << 0)
}

/// Status bits of the `base:allocation` context.
public struct NBDAllocationState: OptionSet, Sendable, Hashable {
    /// The bits as on the wire.
    public let rawValue: UInt32

    /// Makes a set from the bits on the wire.
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// `NBD_STATE_HOLE`: not allocated; writing may fail with `NBD_ENOSPC`.
    public static let hole = NBDAllocationState(rawValue: 1 << 0)
    /// `NBD_STATE_ZERO`: reads as zeroes.
    public static let zero = NBDAllocationState(rawValue: 1 << 1)
}
