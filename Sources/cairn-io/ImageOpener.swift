import BlockDrivers
import BlockGraph
import BlockNodes
import CLinuxShims
import IOCommands
import IOLoop
import ImageTool
import JSON
import QAPI
import QMPSchema

/// Opens and reopens the images that commands name, with the same rules as the daemon.
final class ImageOpener: Sendable {
    private let services = ImageServices()
    @GraphActor private var graph: BlockGraph { services.graph }

    /// Opens the image of a request, with a user that reads it and, where the request is not read-only, writes to it.
    ///
    /// Errors: whatever opening says; the image is read-only though the request is not.
    @GraphActor
    func open(_ request: IOOpenRequest) async throws(BlockError) -> BlockBackend {
        guard !request.copiesOnRead || !request.isReadOnly else {
            throw BlockError("Can't use copy-on-read on read-only device")
        }
        var node = try await openImage(request)
        if request.copiesOnRead { node = try await putFilter(above: node) }
        var permissions = PermissionPair(used: .consistentRead)
        if !request.isReadOnly { permissions.used.formUnion([.write, .resize]) }
        do {
            let backend = try graph.attach("an unnamed block device", to: node, permissions: permissions)
            warnOfGuess(request.copiesOnRead ? node.belowFilters : node, request)
            return backend
        } catch {
            await graph.closeIfUnused(node)
            throw error
        }
    }

    /// Puts a filter above the image that copies what is read from backing images.
    @GraphActor
    private func putFilter(above image: BlockNode) async throws(BlockError) -> BlockNode {
        do throws(BlockError) {
            return try await graph.open(name: nil, options: image.options) { (node) throws(BlockError) in
                try CopyOnReadDriver.open(in: node, file: image)
            }
        } catch {
            await graph.closeIfUnused(image)
            throw error
        }
    }

    /// Says that a raw image might be something else: its first bytes, which a guest may have written, decided.
    @GraphActor
    private func warnOfGuess(_ node: BlockNode, _ request: IOOpenRequest) {
        let isGuess =
            request.format == nil && !request.options.contains { $0.name == "driver" }
            && !(request.path ?? "").hasPrefix("json:")
        guard isGuess, !request.isReadOnly, node.driver.driverName == "raw" else { return }
        cairn_print_error(
            """
            WARNING: Image format was not specified for '\(node.driver.filename(of: node))' and probing guessed raw.
                     Automatically detecting the format is dangerous for raw images, write operations on block 0 will be restricted.
                     Specify the 'raw' format explicitly to remove the restrictions.
            """)
    }

    /// Opens the image of a request, under a temporary overlay where one is asked for.
    @GraphActor
    private func openImage(_ request: IOOpenRequest) async throws(BlockError) -> BlockNode {
        guard request.writesToOverlay else { return try await openNode(request) }
        var reading = request
        reading.isReadOnly = true
        reading.writesToOverlay = false
        let image = try await openNode(reading)
        do throws(BlockError) {
            return try await services.openOverlay(of: image, options: NodeOptions(request))
        } catch {
            await graph.closeIfUnused(image)
            throw error
        }
    }

    @GraphActor
    private func openNode(_ request: IOOpenRequest) async throws(BlockError) -> BlockNode {
        let factory = services.factory
        let options = NodeOptions(request)
        if request.options.isEmpty, request.asynchronousIO == nil, let path = request.path {
            return try await factory.openImage(
                named: path, format: request.format, options: options, isRoot: false)
        }
        return try await factory.openImage(options: Self.optionText(request), options: options, isRoot: false)
    }

    /// The request's options and its path as one option string.
    private static func optionText(_ request: IOOpenRequest) throws(BlockError) -> String {
        var options = request.options.map { ($0.name, $0.value) }
        if let format = request.format { options.append(("driver", format)) }
        let driver = options.last { $0.0 == "driver" }?.1
        let isProtocol = driver == "file" || driver == "host_device"
        if let path = request.path {
            guard !options.contains(where: { $0.0 == "file" || $0.0.hasPrefix("file.") }) else {
                throw BlockError("Can't specify 'file' and 'filename' options at the same time")
            }
            options.append((isProtocol ? "filename" : "file.filename", path))
        }
        if let mode = request.asynchronousIO {
            options.append((isProtocol ? "aio" : "file.aio", mode.rawValue))
        }
        return options.map { "\($0.0)=\($0.1.replacing(",", with: ",,"))" }.joined(separator: ",")
    }

    /// Gives the node other options; those that the request does not name stay.
    ///
    /// Errors: an option cannot change; whatever the graph and the drivers say.
    @GraphActor
    func reopen(_ node: BlockNode, _ request: IOReopenRequest) async throws(BlockError) {
        let image = node.driver is CopyOnReadDriver ? node.belowFilters : node
        guard let source = image.sourceOptions as? BlockdevOptions else { return }
        var options = try source.changing(backing(of: image, source) + request.options.map { ($0.name, $0.value) })
        options.nodeName = image.name
        if let isReadOnly = request.isReadOnly { options.readOnly = isReadOnly }
        if let mode = request.cacheMode {
            options.cache = BlockdevCacheOptions(direct: mode.isDirect, noFlush: mode == .unsafe)
        }
        try await giveUpWriting(node, options)
        try await services.factory.reopen([options])
        if let mode = request.cacheMode {
            for backend in graph.backends where backend.node === node { backend.isWriteThrough = mode.isWriteThrough }
        }
    }

    /// The option that keeps the backing image of a node, where it was opened because the image's header names it.
    @GraphActor
    private func backing(of node: BlockNode, _ source: BlockdevOptions) -> [(name: String, value: String)] {
        guard let backing = node.driver.backingChild?.node, source.encodeMembers()["backing"] == nil else { return [] }
        return [("backing", backing.name)]
    }

    /// Takes the permission to write from users of a node that is to be read-only, and gives it to those of others.
    @GraphActor
    private func giveUpWriting(_ node: BlockNode, _ options: BlockdevOptions) async throws(BlockError) {
        guard options.readOnly == true else { return }
        for backend in graph.backends where backend.node === node {
            var pair = backend.permissions
            pair.used.subtract([.write, .resize])
            try graph.setPermissions(pair, of: backend)
        }
    }

    /// Makes the object of an `--object` option. Error: there is no such kind, or its options are wrong.
    @GraphActor
    func makeObject(_ definition: String) throws(BlockError) {
        try services.makeObject(definition)
    }
}

extension NodeOptions {
    /// The options that a request says for the image.
    fileprivate init(_ request: IOOpenRequest) {
        self.init()
        isReadOnly = request.isReadOnly
        forceShare = request.sharesImage
        discard = request.discards ?? true ? .unmap : .ignore
        cacheDirect = request.cacheMode?.isDirect ?? false
        cacheNoFlush = request.cacheMode == .unsafe
    }
}

extension IOReopenRequest.CacheMode {
    /// Whether the page cache is left out.
    fileprivate var isDirect: Bool { self == .none || self == .off || self == .directsync }
    /// Whether each write is made durable.
    fileprivate var isWriteThrough: Bool { self == .directsync || self == .writethrough }
}
