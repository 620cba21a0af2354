extension HierarchicalBitmap {
    /// Makes dirty what is dirty in `other`.
    ///
    /// With equal granularities the trees are merged, and subtrees that only `other` has become shared. With different
    /// ones the dirty runs of `other` are set here, rounded outwards to this bitmap's granules. What `other` has beyond
    /// the end of this disk is ignored.
    public mutating func merge(_ other: HierarchicalBitmap) {
        guard let theirs = other.root else { return }
        guard other.granularityShift == granularityShift, other.length == length else { return mergeRuns(of: other) }
        if root == nil || root === theirs { return adopt(theirs) }
        let shift = max(root?.shift ?? 0, theirs.shift)
        raiseRoot(to: shift)
        ownedRoot().formUnion(Self.raise(theirs, to: shift))
    }

    /// Sets the dirty runs of `other`: those within a leaf are gathered, since they may be many, and set at once.
    private mutating func mergeRuns(of other: HierarchicalBitmap) {
        var gathered = BitmapWords()
        other.forEachDirtyArea(in: 0..<length) { area in
            guard let bits = bits(touching: area) else { return true }
            if !gathered.add(bits) {
                unite(&gathered)
                if !gathered.add(bits) { set(area) }
            }
            return true
        }
        unite(&gathered)
    }

    private mutating func unite(_ gathered: inout BitmapWords) {
        guard let leaf = gathered.takeLeaf() else { return }
        ownedRoot().unite(leaf, at: gathered.start)
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
