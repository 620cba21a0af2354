/// Magic numbers, sizes and limits of the NBD protocol.
///
/// All integers on the wire are big-endian. Spec: nbd-protocol.md; the extended headers are those of its
/// `extension-ext-header` branch.
public enum NBD {
    /// First 64 bits that a server sends: ASCII `NBDMAGIC`.
    public static let initialMagic: UInt64 = 0x4e42_444d_4147_4943
    /// Second 64 bits of the server's greeting, and the first of each client option: ASCII `IHAVEOPT`.
    public static let optionMagic: UInt64 = 0x4948_4156_454f_5054
    /// First 64 bits of each reply to an option.
    public static let optionReplyMagic: UInt64 = 0x0003_e889_0455_65a9
    /// First 32 bits of a compact request.
    public static let requestMagic: UInt32 = 0x2560_9513
    /// First 32 bits of an extended request.
    public static let extendedRequestMagic: UInt32 = 0x21e4_1c71
    /// First 32 bits of a simple reply.
    public static let simpleReplyMagic: UInt32 = 0x6744_6698
    /// First 32 bits of a structured reply chunk.
    public static let structuredReplyMagic: UInt32 = 0x668e_33ef
    /// First 32 bits of an extended reply chunk.
    public static let extendedReplyMagic: UInt32 = 0x6e8a_278c

    /// Bytes of the server's greeting: two magics and the handshake flags.
    public static let greetingSize = 18
    /// Bytes of an option header: magic, option, data length.
    public static let optionHeaderSize = 16
    /// Bytes of a compact request.
    public static let compactRequestSize = 28
    /// Bytes of an extended request.
    public static let extendedRequestSize = 32
    /// Bytes of a simple reply without its payload.
    public static let simpleReplySize = 16
    /// Bytes of the header of a structured reply chunk.
    public static let structuredReplySize = 20
    /// Bytes of the header of an extended reply chunk.
    public static let extendedReplySize = 32
    /// Zero bytes after the answer to `NBD_OPT_EXPORT_NAME`, unless the client gave them up.
    public static let exportNamePadding = 124

    /// Longest string, in bytes, that either side may send.
    public static let maximumStringLength = 4096
    /// Largest payload of a request or of a reply chunk that this codec accepts or advertises: 32 MiB.
    public static let maximumPayload: UInt32 = 32 << 20
    /// Option data beyond this is refused with `NBD_REP_ERR_TOO_BIG`, without being stored: 1 MiB.
    public static let maximumOptionData: UInt32 = 1 << 20
    /// Most extents in one block status chunk.
    public static let maximumExtents = 131_072
    /// The preferred block size that is advertised unless the export knows better.
    public static let defaultPreferredBlock: UInt32 = 4096

    /// The server's greeting: both magics, then fixed newstyle with `NBD_FLAG_NO_ZEROES`.
    public static var greeting: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(greetingSize)
        bytes.appendBigEndian(initialMagic)
        bytes.appendBigEndian(optionMagic)
        bytes.appendBigEndian((NBDHandshakeFlags.fixedNewstyle.union(.noZeroes)).rawValue)
        return bytes
    }
}
