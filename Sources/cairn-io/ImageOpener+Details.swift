import BlockGraph
import IOCommands
import IOLoop

extension ImageOpener {
    /// What `info` tells of a node; nil where its driver has nothing to tell.
    @GraphActor
    func details(of node: BlockNode) async -> IONodeDetails? {
        switch node.driver.driverName {
        case "null-co", "null-aio": nil
        default: IONodeDetails()
        }
    }
}
