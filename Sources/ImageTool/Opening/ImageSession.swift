import BlockDrivers
import BlockGraph
import BlockNodes
import CLinuxShims
import IOLoop

/// What a command has open: a block graph of its own, with the images' nodes.
@GraphActor
final class ImageSession {
    /// The graph that the nodes are in.
    nonisolated let graph: BlockGraph
    /// The objects that `--object` has made.
    let objects = ObjectList()
    private var images: [OpenImage] = []

    /// A session with nothing open.
    init() {
        graph = BlockGraph { event in
            guard case .imageCorrupted(_, let message, _, let isFatal) = event else { return }
            cairn_print_error(
                isFatal
                    ? "qcow2: Marking image as corrupt: \(message); further corruption events will be suppressed"
                    : "qcow2: Image is corrupt: \(message); further non-fatal corruption events will be suppressed")
        }
    }

    /// Makes nodes.
    var factory: NodeFactory {
        NodeFactory(graph: graph) { [objects] name in objects.throttleGroup(named: name) }
    }

    /// Opens an image.
    ///
    /// - Parameters:
    ///   - access: what is done with the image.
    ///   - chain: which other images are opened with it.
    /// Failure: "Could not open 'NAME': ...", in qemu-img's words.
    func open(
        _ source: ImageSource, _ access: ImageAccess = .reading, _ chain: ImageChain = .whole
    ) async throws(ToolFailure) -> OpenImage {
        var options = NodeOptions()
        options.isReadOnly = !access.isWritable
        options.forceShare = source.forceShare
        options.cacheDirect = source.cache.isDirect
        options.cacheNoFlush = source.cache == .unsafe
        options.discard = access.passesDiscards ? .unmap : .ignore
        let image = try await failing("Could not open '\(source.name)'") { () async throws(BlockError) in
            if options.forceShare, !options.isReadOnly {
                throw BlockError("force-share=on can only be used with read-only images")
            }
            let node = try await openNode(source, options, chain)
            do throws(BlockError) {
                let backend = try graph.attach(
                    "image '\(source.name)'", to: node,
                    permissions: PermissionPair(used: access.permissions, shared: access.shared))
                backend.isWriteThrough = source.cache.isWriteThrough
                return OpenImage(source: source, backend: backend)
            } catch {
                await graph.closeIfUnused(node)
                throw error
            }
        }
        images.append(image)
        warnOfGuess(image, access)
        return image
    }

    /// Opens the topmost node of an image.
    private func openNode(
        _ source: ImageSource, _ options: NodeOptions, _ chain: ImageChain
    ) async throws(BlockError) -> BlockNode {
        var factory = factory
        factory.opensBackingImages = chain == .whole
        factory.opensDataFiles = chain != .header
        guard source.isOptions else {
            return try await factory.openImage(
                named: source.name, format: source.format, options: options, isRoot: false)
        }
        let image = OptionImage(source.name)
        do {
            return try await factory.openImage(options: image.keyval, options: options, isRoot: false)
        } catch {
            throw error.translated(for: image, format: source.format)
        }
    }

    /// Closes an image before the end of the command. What was written is durable then.
    func close(_ image: OpenImage) async {
        images.removeAll { $0.backend === image.backend }
        await graph.detach(image.backend)
    }

    /// Closes everything.
    func close() async {
        for image in images.reversed() { await graph.detach(image.backend) }
        images = []
        await graph.closeAll()
    }

    /// Says that a raw image might be something else: its first bytes, which a guest may have written, decided.
    func warnOfGuess(_ image: OpenImage, _ access: ImageAccess) {
        guard access.isWritable, image.node.driver.driverName == "raw", image.source.isProbed else { return }
        cairn_print_error(
            """
            WARNING: Image format was not specified for '\(NodeDescription(image.node).filename)' and probing guessed raw.
                     Automatically detecting the format is dangerous for raw images, write operations on block 0 will be restricted.
                     Specify the 'raw' format explicitly to remove the restrictions.
            """)
    }
}

extension ImageSource {
    /// Whether the format is found out from the image's start.
    fileprivate var isProbed: Bool {
        if format != nil { return false }
        if isOptions { return !(name.hasPrefix("driver=") || name.contains(",driver=")) }
        return !(name.hasPrefix("json:") && name.contains("\"driver\""))
    }
}

/// An image that is open.
@GraphActor
struct OpenImage {
    /// What it was opened as.
    let source: ImageSource
    /// The command's access to it.
    let backend: BlockBackend

    /// The topmost node.
    var node: BlockNode { backend.node }
    /// The length of what the image shows, in bytes.
    var length: Int64 { node.length }
}

/// Which images are opened with the one that is named.
enum ImageChain: Hashable, Sendable {
    /// The backing chain, and data files.
    case whole
    /// The data file only.
    case top
    /// None: only the image's own file is looked at.
    case header
}

/// What a command does with an image.
struct ImageAccess: Hashable, Sendable {
    /// Whether the image is opened for writing.
    var isWritable = false
    /// The permissions that the command takes.
    var permissions: BlockPermissions = .consistentRead
    /// What others may do meanwhile.
    var shared: BlockPermissions = .all
    /// Whether discards reach the image.
    var passesDiscards = false

    /// Reading.
    static let reading = ImageAccess()
    /// Reading and writing.
    static let writing = ImageAccess(isWritable: true, permissions: [.consistentRead, .write])
    /// Reading, writing, and changing the length.
    static let resizing = ImageAccess(isWritable: true, permissions: [.consistentRead, .write, .resize])
}
