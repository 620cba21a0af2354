import IOLoop
import BlockGraph
import QMPSchema

extension QMPEvent {
    /// The event of the block layer as clients see it.
    init(_ event: BlockEvent) {
        switch event {
        case .writeThreshold(let node, let threshold, let amountExceeded):
            self = .blockWriteThreshold(
                BlockWriteThresholdEvent(
                    nodeName: node.name, amountExceeded: UInt64(amountExceeded), writeThreshold: UInt64(threshold)))
        case .imageCorrupted(let node, let message, let range, let isFatal):
            self = .blockImageCorrupted(
                BlockImageCorruptedEvent(
                    device: "", nodeName: node.name, msg: message,
                    offset: range?.lowerBound, size: range?.length, fatal: isFatal))
        }
    }
}
