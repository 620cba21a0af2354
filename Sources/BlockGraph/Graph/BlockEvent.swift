import IOLoop

/// What happens in the block layer that clients are told of.
public enum BlockEvent: Sendable {
    /// A write passed the node's write threshold, which is now unset.
    case writeThreshold(node: BlockNode, threshold: Int64, amountExceeded: Int64)
    /// An image's structures contradict each other. `range`: the host bytes about to be used, where that showed it;
    /// `isFatal`: the image was marked as corrupt and cannot be used any more.
    case imageCorrupted(node: BlockNode, message: String, range: ByteRange?, isFatal: Bool)
}
