import BlockGraph

extension BlockNode {
    /// The bytes of a cluster of the image that the node shows, filters and `raw` left aside; nil where there are none.
    public var imageClusterSize: Int64? {
        if let size = driver.clusterSize { return size }
        let below = (driver as? RawDriver)?.file ?? driver.filteredChild
        return below?.node.imageClusterSize
    }
}
