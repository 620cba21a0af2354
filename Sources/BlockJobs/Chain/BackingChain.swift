import BlockDrivers
import BlockGraph
import BlockNodes
import IOLoop

/// What the jobs on backing chains know of chains.
extension BlockNode {
    /// The link to the next node of the chain: the one that a filter shows, or the backing image.
    @GraphActor var chainLink: BlockChild? {
        isFilter ? driver.filteredChild : driver.backingChild
    }

    /// This node and those below it in the chain.
    @GraphActor public var backingChain: [BlockNode] {
        var chain = [self]
        while let next = chain.last?.chainLink?.node { chain.append(next) }
        return chain
    }

    /// The nodes of the chain from this one to the one above `base` (nil: all of them).
    @GraphActor func chain(above base: BlockNode?) -> [BlockNode] {
        Array(backingChain.prefix { $0 !== base })
    }

    /// The name that people know the image by.
    @GraphActor var imageName: String { NodeDescription(self).filename }

    /// The name of the format that an overlay's header gives this node as a backing image. Protocols can be shown as `raw`.
    @GraphActor func backingFormat(maskingProtocol: Bool) -> String {
        maskingProtocol && driver.isProtocol ? "raw" : driver.formatName
    }
}

extension NodeFactory {
    /// Changes what the header of an overlay says of its backing image, durably, when everything that was written to the overlay
    /// is durable. A node that is read-only is reopened for writing meanwhile.
    ///
    /// - Parameters:
    ///   - name: the name in the header; nil for the name of `backing`.
    ///   - backing: the backing image without filters; nil for none.
    /// Errors: the image cannot be written; the name does not fit the header.
    func writeBacking(
        of overlay: BlockNode, to backing: BlockNode?, name: String?, maskingProtocol: Bool
    ) async throws(BlockError) {
        let name = backing.map { name ?? $0.imageName } ?? ""
        let format = backing?.backingFormat(maskingProtocol: maskingProtocol)
        try await withWriteAccess(to: overlay) { () async throws(BlockError) in
            do throws(Errno) {
                try await overlay.flush()
            } catch {
                throw BlockError("\(error)", errno: error)
            }
            try await changeBackingFile(of: overlay, to: name, format: format)
        }
    }
}
