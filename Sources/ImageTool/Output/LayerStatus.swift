import BlockGraph
import IOLoop

/// What is known about a run of an image, and which layer of its backing chain has it.
@GraphActor
struct LayerStatus {
    /// The run's first byte in the image.
    let start: Int64
    /// The run's length in bytes.
    private(set) var length: Int64 = 0
    /// The number of the layer that has the run, from 0 for the image itself; filters do not count.
    private(set) var depth = 0
    /// Whether the layer has the run allocated.
    private(set) var isAllocated = false
    /// Whether the run reads as zeroes.
    private(set) var isZero = false
    /// Whether the run is stored as data.
    private(set) var isData = false
    /// Whether the data is compressed.
    private(set) var isCompressed = false
    /// Where the run lies in `file`, in bytes; nil where there is no such place.
    private(set) var hostOffset: Int64?
    /// The node that has the bytes.
    private(set) var file: BlockNode?

    /// A run without bytes.
    init(start: Int64) { self.start = start }

    /// Asks for the run at the start of a range that is not empty, through all layers.
    static func ask(_ node: BlockNode, _ range: ByteRange) async throws(Errno) -> LayerStatus {
        var result = LayerStatus(start: range.lowerBound)
        result.length = range.length
        var layer = node
        while true {
            let status = try await layer.blockStatus(range.lowerBound..<range.lowerBound + result.length)
            if status.length == 0 {
                // The layer is shorter than the one above: what is beyond its end reads as zeroes there.
                result.isZero = true
                result.depth -= 1
                return result
            }
            result.length = status.length
            if status.isAllocated {
                result.take(status)
                return result
            }
            let isFilter = layer.driver.filteredChild != nil
            guard let next = (layer.driver.filteredChild ?? layer.driver.backingChild)?.node else {
                result.isZero = status.isZero || !layer.driver.isProtocol
                return result
            }
            layer = next
            if !isFilter { result.depth += 1 }
        }
    }

    private mutating func take(_ status: BlockStatus) {
        isAllocated = true
        isZero = status.isZero
        isData = status.isData
        isCompressed = status.isCompressed
        hostOffset = status.hostOffset
        file = status.file
    }

    /// The run together with the one that follows it, nil where they are not of one kind, or do not lie side by side.
    func merged(with next: LayerStatus) -> LayerStatus? {
        guard isAllocated == next.isAllocated, isZero == next.isZero, isData == next.isData, depth == next.depth,
            isCompressed == next.isCompressed, (file == next.file || hostOffset == nil),
            hostOffset.map({ $0 + length }) == next.hostOffset
        else { return nil }
        var merged = self
        merged.length += next.length
        return merged
    }
}
