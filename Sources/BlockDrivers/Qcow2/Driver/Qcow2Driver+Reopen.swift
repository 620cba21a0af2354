import BlockGraph
import IOLoop
import Qcow2Format

extension Qcow2Driver {
    /// Writes everything back, so that the image can be opened anew.
    @GraphActor public func settle(before options: NodeOptions, of node: BlockNode) async throws(BlockError) {
        do {
            try await image.makeClean()
        } catch {
            throw BlockError("Could not flush node '\(node.name)'", causedBy: error)
        }
    }

    /// Takes other options, another file, another backing image, or none. What is on disk is up to date: see `settle`.
    ///
    /// Errors, in QEMU's words: the options make no sense for the image; it is marked as corrupt and would be written; another
    /// file has no image.
    @GraphActor public func prepareReopen(_ request: ReopenRequest) async throws(BlockError) -> ReopenAction {
        let node = request.node
        guard let new = request.driverOptions as? Qcow2Configuration else { return ReopenAction() }
        let header = try await Self.header(of: file.node)
        let isReadOnly = request.nodeOptions.isReadOnly
        let image = try await Qcow2Image.open(
            new, header: header, in: node, file: file, dataFile: dataFile, forWriting: false)
        if !isReadOnly { try Qcow2Image.checkWritable(header) }
        return ReopenAction(
            commit: {
                self.configuration = new
                self.currentBacking = node.child(named: "backing")
                self.install(image)
            },
            finish: {
                guard !isReadOnly else { return }
                // An image that cannot be written tells so at the first write.
                try? await image.prepareForWriting()
            })
    }
}
