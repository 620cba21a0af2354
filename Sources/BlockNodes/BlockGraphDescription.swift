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
        for backend in graph.backends where backend.holder == nil {
            let id = number(backend)
            nodes.insert(XDbgBlockGraphNode(id: id, type: .blockBackend, name: ""), at: 0)
            edges.insert(edge(parent: id, backend, child: number(backend.node)), at: 0)
        }
        for holder in holders.reversed() {
            let id = number(holder)
            nodes.insert(XDbgBlockGraphNode(id: id, type: .blockJob, name: holder.name), at: 0)
            for backend in graph.backends.reversed() where backend.holder === holder {
                edges.insert(edge(parent: id, backend, child: number(backend.node)), at: 0)
            }
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

    /// The jobs and the like, the oldest first.
    private var holders: [any BackendHolder] {
        var holders: [any BackendHolder] = []
        for case let holder? in graph.backends.map(\.holder) where !holders.contains(where: { $0 === holder }) {
            holders.append(holder)
        }
        return holders
    }

    private func edge(parent: UInt64, _ backend: BlockBackend, child: UInt64) -> XDbgBlockGraphEdge {
        edge(parent: parent, child: child, name: backend.edgeName, backend.permissions)
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
