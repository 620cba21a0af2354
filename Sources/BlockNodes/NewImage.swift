import BlockDrivers
import BlockGraph
import IOLoop
import JSON
import QMPSchema

/// An image that a command is to make in a file: one of the older commands, which name files rather than nodes.
public struct NewImage: Sendable {
    /// The name of the file: a path, "file:..." or what else stands for a file.
    public var filename: String
    /// The format: "qcow2" or "raw".
    public var format: String
    /// The length of the disk in bytes.
    public var size: Int64
    /// The file of the image's backing image, and its format, for the header; nil for none.
    public var backing: (filename: String, format: String)?

    /// An image without a backing image.
    public init(filename: String, format: String, size: Int64) {
        self.filename = filename
        self.format = format
        self.size = size
    }

    /// Names a node as the backing image.
    @GraphActor
    public mutating func setBacking(_ node: BlockNode) {
        backing = (NodeDescription(node).filename, node.driver.formatName)
    }
}

extension NodeFactory {
    /// Makes an image, in place of what the file held.
    ///
    /// Errors, with QEMU's texts: the format is not known, or cannot have a backing image; "Could not create 'FILE': ...".
    public func create(_ image: NewImage) async throws(BlockError) {
        guard image.format == "qcow2" || image.format == "raw" else {
            throw BlockError("Unknown file format '\(image.format)'")
        }
        guard image.backing == nil || image.format == "qcow2" else {
            throw BlockError("Backing file not supported for file format '\(image.format)'")
        }
        let path = image.filename.hasPrefix("file:") ? String(image.filename.dropFirst(5)) : image.filename
        let isRaw = image.format == "raw"
        try await FileCreator.create(FileCreationOptions(filename: path, size: isRaw ? image.size : 0))
        guard !isRaw else { return }
        var creation = Qcow2CreationOptions(size: image.size)
        creation.backingFile = image.backing?.filename
        creation.backingFormat = image.backing?.format
        let file = try await openImage(named: "file:\(path)", format: "file", options: NodeOptions(), isRoot: false)
        do {
            try await Qcow2Creator.create(creation, file: file)
        } catch {
            await graph.closeIfUnused(file)
            throw error
        }
        await graph.closeIfUnused(file)
    }

    /// Opens the image of a file in a node without an owner, to become a part of the graph.
    ///
    /// - Parameters:
    ///   - format: the driver above the file; nil to look at the image's start.
    ///   - nodeName: the name of the node; nil to make one up.
    ///   - options: what holds for the image where its name does not say otherwise.
    ///   - opensBacking: whether the image's backing image is opened as well.
    /// Errors: as for `openImage(named:format:options:isRoot:)`.
    public func openImage(
        named name: String, format: String?, nodeName: String?, options: NodeOptions, opensBacking: Bool
    ) async throws(BlockError) -> BlockNode {
        var tree = try Self.tree(named: name, format: format)
        if let nodeName { tree["node-name"] = .string(nodeName) }
        if !opensBacking, format == "qcow2" { tree["backing"] = .null }
        return try await openImage(tree, options: options, isRoot: false)
    }
}
