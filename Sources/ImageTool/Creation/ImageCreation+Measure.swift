import BlockGraph
import IOLoop

/// How large the file of a new image becomes, in bytes.
struct ImageMeasure: Hashable, Sendable {
    /// With what the source has allocated now.
    var required: Int64
    /// When everything has been written.
    var fullyAllocated: Int64
    /// What the source's bitmaps add; nil where there are none to copy.
    var bitmaps: Int64?
}

extension ImageCreation {
    /// How large the file becomes with what a node holds, or, without a node, when nothing is written.
    ///
    /// Errors: options do not go together; the node's status cannot be had.
    func measure(convertingFrom node: BlockNode?, in session: ImageSession) async throws(BlockError) -> ImageMeasure {
        guard format == "raw" || format == "file" || format == "host_device" else {
            throw BlockError("Block driver '\(format)' does not support size measurement")
        }
        let length = node?.length ?? (size + 511) / 512 * 512
        return ImageMeasure(required: length, fullyAllocated: length)
    }
}
