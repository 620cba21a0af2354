import BlockGraph
import BlockNodes
import IOLoop
import QAPI
import QMPSchema

/// Dirty bitmaps: `block-dirty-bitmap-*` and `query-dirty-bitmaps`.
extension StorageDaemon {
    func blockDirtyBitmapAdd(_ arguments: BlockDirtyBitmapAdd) async throws(QMPError) {
        try await run(AddBitmapAction(arguments, in: graph))
    }

    func blockDirtyBitmapRemove(_ arguments: BlockDirtyBitmap) async throws(QMPError) {
        try await run(RemoveBitmapAction(arguments, in: graph))
    }

    func blockDirtyBitmapClear(_ arguments: BlockDirtyBitmap) async throws(QMPError) {
        try await run(ClearBitmapAction(arguments, in: graph))
    }

    func blockDirtyBitmapEnable(_ arguments: BlockDirtyBitmap) async throws(QMPError) {
        try await run(RecordingAction(arguments, isRecording: true, in: graph))
    }

    func blockDirtyBitmapDisable(_ arguments: BlockDirtyBitmap) async throws(QMPError) {
        try await run(RecordingAction(arguments, isRecording: false, in: graph))
    }

    func blockDirtyBitmapMerge(_ arguments: BlockDirtyBitmapMerge) async throws(QMPError) {
        try await run(MergeBitmapsAction(arguments, in: graph))
    }

    func xDebugBlockDirtyBitmapSha256(
        _ arguments: BlockDirtyBitmap
    ) async throws(QMPError) -> BlockDirtyBitmapSha256 {
        BlockDirtyBitmapSha256(sha256: try graph.find(arguments, no: []).bitmap.snapshot().sha256())
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
}

/// Runs an operation on a bitmap in a command: its error becomes the command's.
func bitmapReporting<Result>(_ body: () throws(BitmapError) -> Result) throws(QMPError) -> Result {
    do {
        return try body()
    } catch {
        throw QMPError(error)
    }
}
