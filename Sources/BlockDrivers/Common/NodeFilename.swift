import BlockGraph
import IOLoop
import JSON

/// A driver that can say with which options a node like its own would be opened.
protocol DescribedByOptions: BlockDriver {
    /// The options that describe what the node shows, "driver" and those of its children included.
    @GraphActor func describingOptions(of node: BlockNode) -> JSONObject
}

@GraphActor
extension BlockNode {
    /// The options that describe what the node shows; for a driver that does not tell, its name and its file's name.
    var describingOptions: JSONObject {
        if let driver = driver as? any DescribedByOptions { return driver.describingOptions(of: self) }
        return ["driver": .string(driver.driverName), "filename": .string(driver.filename(of: self))]
    }
}

extension JSONObject {
    /// The name "json:{...}" of an image that has no plain file name, as QEMU forms it.
    var asFilename: String { "json:" + String(decoding: JSON.object(self).encoded(), as: UTF8.self) }
}
