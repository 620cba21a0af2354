/// Error values of replies. Spec: nbd-protocol.md, "Error values".
public enum NBDError: UInt32, Error, Sendable, Hashable {
    /// `NBD_EPERM`: operation not permitted.
    case permission = 1
    /// `NBD_EIO`: input/output error.
    case io = 5
    /// `NBD_ENOMEM`: cannot allocate memory.
    case noMemory = 12
    /// `NBD_EINVAL`: invalid argument.
    case invalid = 22
    /// `NBD_ENOSPC`: no space left on device.
    case noSpace = 28
    /// `NBD_EOVERFLOW`: value too large.
    case overflow = 75
    /// `NBD_ENOTSUP`: operation not supported.
    case notSupported = 95
    /// `NBD_ESHUTDOWN`: the server is shutting down.
    case shutdown = 108

    /// The wire value for a Linux `errno`.
    ///
    /// `EROFS` becomes `NBD_EPERM`; `EDQUOT` and `EFBIG` become `NBD_ENOSPC`, as the specification asks; each value
    /// that the protocol does not know, `EACCES` included, becomes `NBD_EINVAL`.
    public init(errno: Int32) {
        self =
            switch errno {
            case 1, 30: .permission  // EPERM, EROFS
            case 5, 110: .io  // EIO, ETIMEDOUT: a copy took longer than cbw-timeout
            case 12: .noMemory
            case 27, 28, 122: .noSpace  // EFBIG, ENOSPC, EDQUOT
            case 75: .overflow
            case 95: .notSupported
            case 108: .shutdown
            default: .invalid
            }
    }
}

/// Why a byte stream cannot go on: the peer must be disconnected.
public enum NBDFatalError: Error, Sendable, Hashable {
    /// The magic number of an option or a request is wrong.
    case badMagic(UInt64)
    /// The client's handshake flags have unknown bits.
    case unknownClientFlags(UInt32)
    /// Option data longer than ``NBD/maximumPayload``: not even skipped.
    case optionTooLong(UInt32)

    /// One line for a log.
    public var message: String {
        switch self {
        case .badMagic: "Bad magic received"
        case .unknownClientFlags(let flags): "Unknown client flags 0x\(String(flags, radix: 16)) received"
        case .optionTooLong(let length): "len (\(length)) is larger than max len (\(NBD.maximumPayload))"
        }
    }
}
