import BlockGraph
import IOCommands
import IOLoop
import ImageTool

extension ImageOpener {
    /// Where the state of a virtual machine begins in a qcow2 image: beyond what the first-level table has for the disk.
    private static func stateOffset(length: Int64, clusterSize: Int64, entrySize: Int64) -> Int64 {
        length.alignedUp(to: clusterSize * (clusterSize / entrySize))
    }

    /// What `info` tells of a node; nil where its driver has nothing to tell.
    @GraphActor
    func details(of node: BlockNode) async -> IONodeDetails? {
        switch node.driver.driverName {
        case "null-co", "null-aio": return nil
        default: break
        }
        guard let size = node.driver.clusterSize else { return IONodeDetails() }
        let lines = await ImageServices.formatSpecificLines(of: node)
        let entrySize: Int64 = lines.contains("extended l2: true") ? 16 : 8
        return IONodeDetails(
            clusterSize: size,
            vmStateOffset: Self.stateOffset(length: node.length, clusterSize: size, entrySize: entrySize),
            formatSpecificLines: lines)
    }
}
