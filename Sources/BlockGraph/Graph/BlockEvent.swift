import IOLoop

/// What happens in the block layer that clients are told of.
public enum BlockEvent: Sendable {
    /// A write passed the node's write threshold, which is now unset.
    case writeThreshold(node: BlockNode, threshold: Int64, amountExceeded: Int64)
}
