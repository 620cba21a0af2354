import IOLoop

/// Where a run of bytes comes from, as seen from the topmost of some layers.
public struct LayerRun: Hashable, Sendable {
    /// A layer, or none of them.
    public enum Place: Hashable, Sendable {
        /// The topmost layer has the bytes.
        case top
        /// One of the others has them, or is shorter, which makes them zeroes.
        case below
        /// None of the layers has them.
        case nowhere
    }

    /// The number of bytes.
    public var length: Int64
    /// Who has them.
    public var place: Place
    /// Whether they are known to be zeroes.
    public var isZero: Bool
}

extension BlockNode {
    /// Where a run from the start of the range, which is not empty and within the node, comes from: this layer, or one of those
    /// between it and `base` (nil: down to the end of the chain). Not longer than the range.
    ///
    /// What lies beyond the end of a layer counts as zeroes of that layer where `base` would show through otherwise.
    public func layerRun(_ range: ByteRange, above base: BlockNode?) async throws(Errno) -> LayerRun {
        var layer = self
        var range = range
        while true {
            let status = try await layer.blockStatus(range)
            if status.length == 0 { return Self.run(beyondEnd: range, base: base) }
            range = range.lowerBound..<range.lowerBound + status.length
            if status.isAllocated {
                return LayerRun(length: range.length, place: layer === self ? .top : .below, isZero: status.isZero)
            }
            guard let next = (layer.driver.filteredChild ?? layer.driver.backingChild)?.node, next !== base else {
                return LayerRun(length: range.length, place: .nowhere, isZero: false)
            }
            layer = next
        }
    }

    /// What lies beyond the end of a layer.
    private static func run(beyondEnd range: ByteRange, base: BlockNode?) -> LayerRun {
        let end = base?.length ?? 0
        guard range.lowerBound < end else { return LayerRun(length: range.length, place: .nowhere, isZero: true) }
        return LayerRun(length: min(range.upperBound, end) - range.lowerBound, place: .below, isZero: true)
    }
}
