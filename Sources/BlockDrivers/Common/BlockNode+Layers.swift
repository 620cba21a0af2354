import BlockGraph

extension BlockNode {
    /// Whether the node only shows what another one has. `raw` is a format, even where it shows its whole file.
    public var isFilter: Bool { driver.filteredChild != nil && !(driver is RawDriver) }

    /// The first node, this one or below, that is no filter.
    public var belowFilters: BlockNode {
        var node = self
        while node.isFilter, let child = node.driver.filteredChild { node = child.node }
        return node
    }
}

extension BlockLimits {
    /// What a filter above a node with these limits takes: the node below cuts writes of zeroes itself.
    var ofFilter: BlockLimits {
        var limits = self
        limits.writeZeroesAlignment = limits.requestAlignment
        return limits
    }
}
