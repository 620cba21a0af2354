import BlockGraph
import IOLoop

extension ConvertCommand {
    /// Failures: the source cannot have bitmaps; one that is to be copied is inconsistent.
    func checkBitmaps(of images: [OpenImage]) throws(ToolFailure) {
        guard images.count == 1, let image = images.first else {
            throw ToolFailure("Copying bitmaps only possible with single source")
        }
        guard image.node.driver.bitmapStore != nil else { throw ToolFailure("Source lacks bitmap support") }
        guard !skipsBrokenBitmaps else { return }
        for bitmap in persistentBitmaps(of: image.node) where bitmap.isInconsistent {
            throw ToolFailure(
                "Cannot copy inconsistent bitmap '\(bitmap.name ?? "")'",
                hint: "Try --skip-broken-bitmaps, or use 'qemu-img bitmap --remove' to delete it")
        }
    }

    /// Copies the persistent bitmaps, with what they hold.
    func copyBitmaps(
        from source: BlockNode, to target: BlockNode, in session: ImageSession
    ) async throws(ToolFailure) {
        for bitmap in persistentBitmaps(of: source) {
            let name = bitmap.name ?? ""
            if bitmap.isInconsistent {
                printWarning("Skipping inconsistent bitmap '\(name)'")
                continue
            }
            try await failing("Failed to populate bitmap \(name)") { () async throws(BlockError) in
                let copy = try session.graph.addBitmap(
                    named: name, to: target, granularity: bitmap.granularity, recording: bitmap.isRecording,
                    persistent: true)
                do throws(BitmapError) {
                    try copy.merge([bitmap.snapshot()])
                } catch {
                    throw BlockError(error)
                }
            }
        }
    }

    private func persistentBitmaps(of node: BlockNode) -> [DirtyBitmap] {
        node.bitmaps.all.filter { $0.isPersistent && $0.name != nil }
    }
}
