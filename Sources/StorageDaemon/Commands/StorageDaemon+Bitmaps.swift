import BlockGraph
import BlockNodes
import IOLoop
import QAPI
import QMPSchema

/// Dirty bitmaps: `block-dirty-bitmap-*` and `query-dirty-bitmaps`.
extension StorageDaemon {
    func blockDirtyBitmapAdd(_ arguments: BlockDirtyBitmapAdd) async throws(QMPError) {
        let node = try findNode(arguments.node)
        try await reporting { () throws(BlockError) in
            _ = try graph.addBitmap(
                named: arguments.name, to: node, granularity: arguments.granularity.map(Int64.init),
                recording: arguments.disabled != true, persistent: arguments.persistent == true)
        }
    }

    func blockDirtyBitmapRemove(_ arguments: BlockDirtyBitmap) async throws(QMPError) {
        let (node, bitmap) = try find(arguments, no: .toRemove)
        try await reporting { () async throws(BlockError) in try await graph.removeBitmap(bitmap, of: node) }
    }

    func blockDirtyBitmapClear(_ arguments: BlockDirtyBitmap) async throws(QMPError) {
        _ = try find(arguments, no: .toChange).bitmap.clear()
    }

    func blockDirtyBitmapEnable(_ arguments: BlockDirtyBitmap) async throws(QMPError) {
        try find(arguments, no: .toUse).bitmap.isRecording = true
    }

    func blockDirtyBitmapDisable(_ arguments: BlockDirtyBitmap) async throws(QMPError) {
        try find(arguments, no: .toUse).bitmap.isRecording = false
    }

    func blockDirtyBitmapMerge(_ arguments: BlockDirtyBitmapMerge) async throws(QMPError) {
        let (node, target) = try find(
            BlockDirtyBitmap(node: arguments.node, name: arguments.target), no: .toChange)
        var sources: [HierarchicalBitmap] = []
        for reference in arguments.bitmaps {
            let source: BlockDirtyBitmap =
                switch reference {
                case .local(let name): BlockDirtyBitmap(node: node.name, name: name)
                case .external(let bitmap): bitmap
                }
            sources.append(try find(source, no: .toUse).bitmap.snapshot())
        }
        try bitmapReporting { () throws(BitmapError) in _ = try target.merge(sources) }
    }

    func xDebugBlockDirtyBitmapSha256(
        _ arguments: BlockDirtyBitmap
    ) async throws(QMPError) -> BlockDirtyBitmapSha256 {
        BlockDirtyBitmapSha256(sha256: try find(arguments, no: []).bitmap.snapshot().sha256())
    }

    func queryDirtyBitmaps(
        _ arguments: QueryDirtyBitmapsArguments
    ) async throws(QMPError) -> [String: [BlockDirtyInfo]] {
        var nodes = graph.nodes
        if let name = arguments.nodeName {
            nodes = [try bitmapReporting { () throws(BitmapError) in try graph.bitmapNode(named: name) }]
        }
        var result: [String: [BlockDirtyInfo]] = [:]
        for node in nodes {
            let infos = node.bitmaps.infos
            if !infos.isEmpty { result[node.name] = infos.map(BlockDirtyInfo.init) }
        }
        return result
    }

    /// The bitmap of a node, which none of the obstacles keeps from being used.
    func find(
        _ reference: BlockDirtyBitmap, no obstacles: DirtyBitmap.Obstacles
    ) throws(QMPError) -> (node: BlockNode, bitmap: DirtyBitmap) {
        try bitmapReporting { () throws(BitmapError) in
            let found = try graph.bitmap(named: reference.name, onNode: reference.node)
            try found.bitmap.require(no: obstacles)
            return found
        }
    }
}

/// Runs an operation on a bitmap in a command: its error becomes the command's.
func bitmapReporting<Result>(_ body: () throws(BitmapError) -> Result) throws(QMPError) -> Result {
    do {
        return try body()
    } catch {
        throw QMPError(error)
    }
}
