import BlockGraph
import IOLoop

/// What an NBD export is to be.
public struct NBDExportOptions: Sendable {
    /// Where to find a dirty bitmap.
    public enum Bitmap: Hashable, Sendable {
        /// The first of this name in the exported node and the filters and backing files below it.
        case name(String)
        /// One of a certain node.
        case external(node: String, name: String)
    }

    /// The id of the export.
    public var id: String
    /// The node.
    public var node: BlockNode
    /// The name for clients, at most 4096 bytes; nil for the node's name.
    public var name: String?
    /// A line for people, at most 4096 bytes.
    public var description: String?
    /// Whether clients may write.
    public var isWritable = false
    /// Whether each write is durable before it is answered.
    public var isWriteThrough = false
    /// The dirty bitmaps to offer.
    public var bitmaps: [Bitmap] = []
    /// Whether to offer the context `qemu:allocation-depth`.
    public var allocationDepth = false
    /// The loops that serve the connections, in turn; empty for the main loop.
    public var loops: [IOLoop] = []

    /// Options of a read-only export.
    public init(id: String, node: BlockNode) {
        self.id = id
        self.node = node
    }
}
