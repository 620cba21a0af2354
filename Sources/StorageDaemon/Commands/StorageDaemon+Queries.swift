import BlockGraph
import BlockNodes
import QAPI
import QMPSchema

/// What is there: `query-named-block-nodes`, `query-block`, `query-blockstats`, `x-debug-query-block-graph`.
extension StorageDaemon {
    func queryNamedBlockNodes(
        _ arguments: QueryNamedBlockNodesArguments
    ) async throws(QMPError) -> [BlockDeviceInfo] {
        var infos: [BlockDeviceInfo] = []
        for node in graph.nodes.reversed() {
            infos.append(await NodeDescription(node).deviceInfo(flat: arguments.flat == true))
        }
        return infos
    }

    /// A storage daemon has no devices.
    func queryBlock(_ arguments: QueryBlockArguments) async throws(QMPError) -> [BlockInfo] { [] }

    func queryBlockstats(_ arguments: QueryBlockstatsArguments) async throws(QMPError) -> [BlockStats] {
        guard arguments.queryNodes == true else { return [] }
        return graph.nodes.map { NodeDescription($0).statistics }
    }

    func xDebugQueryBlockGraph() async throws(QMPError) -> XDbgBlockGraph {
        BlockGraphDescription(graph).description
    }
}
