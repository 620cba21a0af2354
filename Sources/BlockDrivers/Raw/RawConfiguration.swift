import BlockGraph
import IOLoop

/// The options of `raw`. The names are those of QMP's `BlockdevOptionsRaw`.
public struct RawConfiguration: Hashable, Sendable {
    /// Where the disk begins in the file, in bytes.
    public var offset: Int64?
    /// The length of the disk in bytes, a multiple of 512; nil for all up to the end of the file.
    public var size: Int64?

    /// A configuration with its parts.
    public init(offset: Int64? = nil, size: Int64? = nil) {
        self.offset = offset
        self.size = size
    }

    /// Whether the disk is the whole file, whatever its length.
    var showsWholeFile: Bool { offset ?? 0 == 0 && size == nil }

    /// Checks the values against the length of the file. Errors: one is out of range.
    func check(fileLength: Int64) throws(BlockError) {
        let offset = offset ?? 0
        if offset < 0 { throw BlockError("Value '\(offset)' is out of range for parameter 'offset'") }
        if let size, size < 0 { throw BlockError("Value '\(size)' is out of range for parameter 'size'") }
        guard offset <= fileLength else {
            throw BlockError(
                "Offset (\(offset)) cannot be greater than size of the containing file (\(fileLength))", kind: .generic,
                errno: .EINVAL)
        }
        guard let size else { return }
        guard size > fileLength - offset else {
            guard size % 512 != 0 else { return }
            throw BlockError("Specified size is not multiple of 512", kind: .generic, errno: .EINVAL)
        }
        // Two blanks before "actual": the text is compared by scripts.
        throw BlockError(
            """
            The sum of offset (\(offset)) and size (\(size)) has to be smaller or equal to the  actual size of the \
            containing file (\(fileLength))
            """, kind: .generic, errno: .EINVAL)
    }
}
