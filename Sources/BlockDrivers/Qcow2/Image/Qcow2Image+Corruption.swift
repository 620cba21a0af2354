import BlockGraph
import IOLoop
import Qcow2Format
import Synchronization

extension Qcow2Image {
    /// Reports that the image's structures contradict each other: clients get the event BLOCK_IMAGE_CORRUPTED.
    ///
    /// A fatal corruption of an image that is open for writing sets the corrupt bit, and nothing works from then on.
    /// Others are reported once. Returns EIO, for the caller to throw.
    ///
    /// - Parameters:
    ///   - message: what is wrong, in QEMU's words.
    ///   - isFatal: whether writing on would make it worse.
    ///   - range: the host bytes that were about to be used, where the corruption was found that way.
    public func reportCorruption(
        _ message: String, isFatal: Bool = true, range: ByteRange? = nil
    ) async -> Errno {
        let isFatal = isFatal && !node.isReadOnly
        let isNew = tables.withLock { tables in
            defer { tables.hasReportedCorruption = true }
            return isFatal || !tables.hasReportedCorruption
        }
        guard isNew, !isBroken.load(ordering: .relaxed) else { return .EIO }
        if isFatal {
            // As long as the header can be written: afterwards nothing is.
            try? await setFeature(.corrupt, true)
            isBroken.store(true, ordering: .relaxed)
        }
        node.graph.report(.imageCorrupted(node: node, message: message, range: range, isFatal: isFatal))
        return .EIO
    }

    /// Whether a fatal corruption was found: the image is not usable any more.
    public var isMarkedCorrupt: Bool { isBroken.load(ordering: .relaxed) }
}
