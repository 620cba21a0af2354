import IOLoop

extension BlockGraph {
    /// The node of a name, in the words of the commands on bitmaps: "Node 'NAME' not found".
    public func bitmapNode(named name: String) throws(BitmapError) -> BlockNode {
        guard let node = node(named: name) else { throw BitmapError("Node '\(name)' not found") }
        return node
    }

    /// The bitmap of a name on the node of a name. Errors: there is no such node, or no such bitmap on it.
    public func bitmap(
        named name: String, onNode nodeName: String
    ) throws(BitmapError) -> (node: BlockNode, bitmap: DirtyBitmap) {
        let node = try bitmapNode(named: nodeName)
        return (node, try node.bitmaps.find(name))
    }
}

extension BlockError {
    /// The error of a bitmap, where it is one of a larger operation.
    public init(_ error: BitmapError) { self.init(error.description, hint: error.hint) }
}
