extension HierarchicalBitmap {
    /// Makes dirty what is dirty in `other`.
    ///
    /// With equal granularities the trees are merged, and subtrees that only `other` has become shared. With different
    /// ones each dirty run of `other` is set here, rounded outwards to this bitmap's granules. What `other` has beyond
    /// the end of this disk is ignored.
    public mutating func merge(_ other: HierarchicalBitmap) {
        guard let theirs = other.root else { return }
        guard other.granularityShift == granularityShift, other.length == length else {
            for area in other.dirtyAreas { set(area) }
            return
        }
        if root == nil || root === theirs { return adopt(theirs) }
        let shift = max(root?.shift ?? 0, theirs.shift)
        raiseRoot(to: shift)
        ownedRoot().formUnion(Self.raise(theirs, to: shift))
    }

    /// The union of two bitmaps of the same length and granularity.
    public func merged(with other: HierarchicalBitmap) -> HierarchicalBitmap {
        var result = self
        result.merge(other)
        return result
    }
}

extension HierarchicalBitmap: Equatable {
    /// Whether both are of the same size and granularity and have the same dirty granules.
    public static func == (left: HierarchicalBitmap, right: HierarchicalBitmap) -> Bool {
        guard left.length == right.length, left.granularityShift == right.granularityShift else { return false }
        guard left.root !== right.root, left.dirtyGranuleCount == right.dirtyGranuleCount else {
            return left.root === right.root
        }
        return left.dirtyAreas.elementsEqual(right.dirtyAreas)
    }
}
