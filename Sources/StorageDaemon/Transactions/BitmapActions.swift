import BlockGraph
import IOLoop
import QAPI
import QMPSchema

/// `block-dirty-bitmap-add`.
final class AddBitmapAction: UndoableAction {
    private let graph: BlockGraph
    private let arguments: BlockDirtyBitmapAdd
    private var added: (node: BlockNode, bitmap: DirtyBitmap)?

    init(_ arguments: BlockDirtyBitmapAdd, in graph: BlockGraph) {
        self.graph = graph
        self.arguments = arguments
    }

    var nodes: [BlockNode] { graph.nodes(named: arguments.node) }

    func prepare() async throws(QMPError) {
        try await reporting { () throws(BlockError) in
            let node = try graph.requireNode(named: arguments.node)
            let bitmap = try graph.addBitmap(
                named: arguments.name, to: node, granularity: arguments.granularity.map(Int64.init),
                recording: arguments.disabled != true, persistent: arguments.persistent == true)
            added = (node, bitmap)
        }
    }

    func abort() async {
        guard let (node, bitmap) = added else { return }
        node.bitmaps.remove(bitmap)
    }
}

/// `block-dirty-bitmap-remove`. The bitmap is there until the end, but nobody can use it.
final class RemoveBitmapAction: UndoableAction {
    private let graph: BlockGraph
    private let arguments: BlockDirtyBitmap
    private var found: (node: BlockNode, bitmap: DirtyBitmap)?

    init(_ arguments: BlockDirtyBitmap, in graph: BlockGraph) {
        self.graph = graph
        self.arguments = arguments
    }

    var nodes: [BlockNode] { graph.nodes(named: arguments.node) }

    func prepare() async throws(QMPError) {
        let (node, bitmap) = try graph.find(arguments, no: .toRemove)
        // What the image has of a bitmap in use is not valid: it is stored anew at the end, should this be taken back.
        try await reporting { () async throws(BlockError) in try await graph.removeStored(bitmap, of: node) }
        bitmap.isBusy = true
        found = (node, bitmap)
    }

    func commit() async {
        guard let (node, bitmap) = found else { return }
        node.bitmaps.remove(bitmap)
    }

    func abort() async { found?.bitmap.isBusy = false }
}

/// `block-dirty-bitmap-clear`.
final class ClearBitmapAction: UndoableAction {
    private let graph: BlockGraph
    private let arguments: BlockDirtyBitmap
    private var cleared: (bitmap: DirtyBitmap, bits: HierarchicalBitmap)?

    init(_ arguments: BlockDirtyBitmap, in graph: BlockGraph) {
        self.graph = graph
        self.arguments = arguments
    }

    var nodes: [BlockNode] { graph.nodes(named: arguments.node) }

    func prepare() async throws(QMPError) {
        let bitmap = try graph.find(arguments, no: .toChange).bitmap
        cleared = (bitmap, bitmap.clear())
    }

    func abort() async {
        guard let (bitmap, bits) = cleared else { return }
        bitmap.restore(bits, keepingWrites: true)
    }
}

/// `block-dirty-bitmap-enable` and `block-dirty-bitmap-disable`.
final class RecordingAction: UndoableAction {
    private let graph: BlockGraph
    private let arguments: BlockDirtyBitmap
    private let isRecording: Bool
    private var changed: (bitmap: DirtyBitmap, wasRecording: Bool)?

    init(_ arguments: BlockDirtyBitmap, isRecording: Bool, in graph: BlockGraph) {
        self.graph = graph
        self.arguments = arguments
        self.isRecording = isRecording
    }

    var nodes: [BlockNode] { graph.nodes(named: arguments.node) }

    func prepare() async throws(QMPError) {
        let bitmap = try graph.find(arguments, no: .toUse).bitmap
        changed = (bitmap, bitmap.isRecording)
        bitmap.isRecording = isRecording
    }

    func abort() async {
        guard let (bitmap, wasRecording) = changed else { return }
        bitmap.isRecording = wasRecording
    }
}

/// `block-dirty-bitmap-merge`.
final class MergeBitmapsAction: UndoableAction {
    private let graph: BlockGraph
    private let arguments: BlockDirtyBitmapMerge
    private var merged: (bitmap: DirtyBitmap, bits: HierarchicalBitmap)?

    init(_ arguments: BlockDirtyBitmapMerge, in graph: BlockGraph) {
        self.graph = graph
        self.arguments = arguments
    }

    var nodes: [BlockNode] {
        ([arguments.node] + sources.map(\.node)).flatMap(graph.nodes(named:))
    }

    private var sources: [BlockDirtyBitmap] {
        arguments.bitmaps.map { reference in
            switch reference {
            case .local(let name): BlockDirtyBitmap(node: arguments.node, name: name)
            case .external(let bitmap): bitmap
            }
        }
    }

    func prepare() async throws(QMPError) {
        let target = BlockDirtyBitmap(node: arguments.node, name: arguments.target)
        let bitmap = try graph.find(target, no: .toChange).bitmap
        var bits: [HierarchicalBitmap] = []
        for source in sources { bits.append(try graph.find(source, no: .toUse).bitmap.snapshot()) }
        merged = (bitmap, try bitmapReporting { () throws(BitmapError) in try bitmap.merge(bits) })
    }

    func abort() async {
        guard let (bitmap, bits) = merged else { return }
        bitmap.restore(bits, keepingWrites: false)
    }
}

extension BlockGraph {
    /// The node of a name as a list, empty where there is none.
    func nodes(named name: String) -> [BlockNode] { node(named: name).map { [$0] } ?? [] }

    /// The bitmap of a node, which none of the obstacles keeps from being used.
    func find(
        _ reference: BlockDirtyBitmap, no obstacles: DirtyBitmap.Obstacles
    ) throws(QMPError) -> (node: BlockNode, bitmap: DirtyBitmap) {
        try bitmapReporting { () throws(BitmapError) in
            let found = try bitmap(named: reference.name, onNode: reference.node)
            try found.bitmap.require(no: obstacles)
            return found
        }
    }
}
