import BlockGraph
import IOLoop
import JSON
import Qcow2Format

extension Qcow2Driver: DescribedByOptions {
    /// Whether another backing image is in use than the one that the header names, or, as options say, none.
    @GraphActor private var hasOtherBacking: Bool {
        guard let backing else {
            return !leavesBackingClosed && !(image.header.backingFileName ?? "").isEmpty
        }
        return backing.node.driver.filename(of: backing.node) != automaticBackingFile ?? ""
    }

    /// The name of the file, where that says everything; else the options.
    @GraphActor public func filename(of node: BlockNode) -> String {
        let file = file.node
        if file.driver.isProtocol, !hasOtherBacking {
            let name = file.driver.filename(of: file)
            if !name.hasPrefix("json:") { return name }
        }
        return describingOptions(of: node).asFilename
    }

    @GraphActor func describingOptions(of node: BlockNode) -> JSONObject {
        var options: JSONObject = ["driver": "qcow2", "file": .object(file.node.describingOptions)]
        if let dataFile { options["data-file"] = .object(dataFile.node.describingOptions) }
        if hasOtherBacking {
            options["backing"] = backing.map { JSON.object($0.node.describingOptions) } ?? .null
        }
        return options
    }

    /// What the file and the data file take up. The backing image counts for itself.
    @GraphActor public func allocatedSize() async -> Int64? {
        guard let size = await file.node.driver.allocatedSize() else { return nil }
        guard let dataFile else { return size }
        guard let dataSize = await dataFile.node.driver.allocatedSize() else { return nil }
        return size + dataSize
    }
}
