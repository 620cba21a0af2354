import BlockGraph
import IOLoop
import Qcow2Format

extension Qcow2Driver {
    /// Gives up all clusters: everything is found in the backing file then, or reads as zeroes without one.
    ///
    /// On return readers see that; it is durable after a flush. Errors: those of the file; a part may have been given up.
    public func makeEmpty() async throws(Errno) {
        let image = image
        let epoch = image.beginRequest()
        defer { image.endRequest(epoch) }
        let change = ClusterRemoval(
            kind: .empty, geometry: image.geometry, hasZeroFlag: image.header.version >= 3,
            hasBacking: backing != nil, keepsClusters: false)
        try await remove(0..<length.alignedUp(to: image.geometry.clusterSize), change)
    }
}
