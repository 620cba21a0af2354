import IOLoop
import BlockGraph
import QMPSchema

/// The whole graph as `x-debug-query-block-graph` tells it. Numbers are given from 1, in the order of the list's end.
@GraphActor
public struct BlockGraphDescription {
    /// The graph.
    public let graph: BlockGraph

    /// The description of a graph.
    public init(_ graph: BlockGraph) { self.graph = graph }

    /// The nodes and users, newest first, and the edges.
    public var description: XDbgBlockGraph {
        var numbers: [ObjectIdentifier: UInt64] = [:]
        func number(_ object: AnyObject) -> UInt64 {
            let identifier = ObjectIdentifier(object)
            if let number = numbers[identifier] { return number }
            let number = UInt64(numbers.count + 1)
            numbers[identifier] = number
            return number
        }
        var nodes: [XDbgBlockGraphNode] = []
        var edges: [XDbgBlockGraphEdge] = []
        for backend in graph.backends {
            let id = number(backend)
            nodes.insert(XDbgBlockGraphNode(id: id, type: .blockBackend, name: ""), at: 0)
            let node = number(backend.node)
            edges.insert(edge(parent: id, child: node, name: "root", backend.permissions), at: 0)
        }
        for node in graph.nodes {
            let id = number(node)
            nodes.insert(XDbgBlockGraphNode(id: id, type: .blockDriver, name: node.name), at: 0)
            for child in node.children {
                edges.insert(
                    edge(parent: id, child: number(child.node), name: child.name, child.permissions), at: 0)
            }
        }
        return XDbgBlockGraph(nodes: nodes, edges: edges)
    }

    private func edge(
        parent: UInt64, child: UInt64, name: String, _ permissions: PermissionPair
    ) -> XDbgBlockGraphEdge {
        func names(_ permissions: BlockPermissions) -> [BlockPermission] {
            permissions.wireNames.reversed().compactMap(BlockPermission.init(rawValue:))
        }
        return XDbgBlockGraphEdge(
            parent: parent, child: child, name: name, perm: names(permissions.used),
            sharedPerm: names(permissions.shared))
    }
}
