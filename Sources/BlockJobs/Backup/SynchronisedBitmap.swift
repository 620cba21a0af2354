import BlockGraph
import IOLoop

/// A dirty bitmap that a backup brings up to date. While the job is there, the bitmap stays as it is, and another one takes the
/// guest's writes.
@GraphActor
public final class SynchronisedBitmap {
    private let bitmap: DirtyBitmap
    private let mode: BackupJob.BitmapMode
    private let node: BlockNode
    private let successor: DirtyBitmap

    /// From now on the bitmap is busy. In a drained section of its node.
    public init(_ bitmap: DirtyBitmap, of node: BlockNode, mode: BackupJob.BitmapMode) {
        self.bitmap = bitmap
        self.mode = mode
        self.node = node
        successor = bitmap.makeSuccessor(length: node.length)
        node.bitmaps.insert(successor)
    }

    /// The bits that the bitmap has had since then.
    var bits: HierarchicalBitmap { bitmap.snapshot() }

    /// The job is over, with something left to be copied or not.
    func finish(succeeded: Bool, remainder: HierarchicalBitmap) {
        let isSynchronised = mode == .always || mode == .onSuccess && succeeded
        if isSynchronised, !succeeded { successor.withBits { $0.merge(remainder) } }
        finish(keepingBits: !isSynchronised)
    }

    /// There is no job after all: the bitmap is as if nothing had been.
    func giveBack() { finish(keepingBits: true) }

    private func finish(keepingBits: Bool) {
        bitmap.endSuccession(keepingBits: keepingBits)
        node.bitmaps.remove(successor)
    }
}
