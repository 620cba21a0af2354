import BlockGraph
import IOLoop
import JSON
import QAPI
import QMPSchema

/// Images as tools and image headers name them: the drivers, and the format, are found out where they are not said.
extension NodeFactory {
    /// Opens the image of a name: a path, "PROTOCOL:...", or "json:{...}".
    ///
    /// - Parameters:
    ///   - format: the driver above the file; nil to look at the image's start.
    ///   - options: what holds for the image where its name does not say otherwise.
    ///   - isRoot: whether the node stays without a parent.
    /// Errors, with QEMU's texts: the name is malformed; a driver is not known; whatever opening says.
    public func openImage(
        named name: String, format: String? = nil, options: NodeOptions, isRoot: Bool = true
    ) async throws(BlockError) -> BlockNode {
        try await openImage(try Self.tree(named: name, format: format), options: options, isRoot: isRoot)
    }

    /// Opens the image of a command line option such as "driver=qcow2,file.filename=disk.qcow2", or of a node's name.
    ///
    /// Errors: as for `openImage(named:)`.
    public func openImage(
        options text: String, options: NodeOptions, isRoot: Bool = true
    ) async throws(BlockError) -> BlockNode {
        let object: JSONObject
        do throws(QMPError) {
            let keyval = try Keyval(text)
            guard !keyval.asksForHelp else { throw QMPError("Help is not available for this option") }
            object = keyval.object
        } catch {
            throw BlockError(error.description)
        }
        return try await openImage(object, options: options, isRoot: isRoot)
    }

    /// The options of the image of a name, with the driver that is asked for.
    static func tree(named name: String, format: String?) throws(BlockError) -> JSONObject {
        if var object = try ImageName.jsonOptions(name) {
            if let format { object["driver"] = .string(format) }
            return object
        }
        let file = try ImageName.protocolOptions(name)
        guard let format else { return ["file": .object(file)] }
        if try isProtocol(format) {
            var file = file
            file["driver"] = .string(format)
            return file
        }
        return ["driver": .string(format), "file": .object(file)]
    }

    /// Opens the image of options in which drivers may be missing.
    func openImage(
        _ tree: JSONObject, options: NodeOptions, isRoot: Bool
    ) async throws(BlockError) -> BlockNode {
        var complete = try decode(try await completed(tree, isProtocol: false, options))
        if isRoot {
            // These two are not inherited.
            complete.discard = complete.discard ?? (options.discard == .unmap ? .unmap : .ignore)
            complete.detectZeroes =
                complete.detectZeroes ?? BlockdevDetectZeroesOptions(rawValue: options.detectZeroes.rawValue)
        }
        return try await open(complete, isRoot: isRoot, inheriting: options)
    }

    /// Opens the protocol node of a name.
    func openProtocol(named name: String, inheriting options: NodeOptions) async throws(BlockError) -> BlockNode {
        let tree = try await completed(["filename": .string(name)], isProtocol: true, options)
        return try await open(try decode(tree), isRoot: false, inheriting: options)
    }

    /// The options with a driver at every node that they define.
    private func completed(
        _ tree: JSONObject, isProtocol: Bool, _ options: NodeOptions
    ) async throws(BlockError) -> JSONObject {
        var tree = tree
        if tree["driver"] == nil {
            if isProtocol {
                tree = try await protocolCompleted(tree)
            } else {
                tree["driver"] = .string(try await probedDriver(of: &tree, options))
            }
        }
        guard case .string(let name)? = tree["driver"], let driver = BlockdevDriver(rawValue: name) else {
            let name = if case .string(let text)? = tree["driver"] { text } else { "" }
            throw BlockError("Unknown driver '\(name)'")
        }
        for (child, value) in tree.members {
            guard Self.childNames.contains(child), case .object(let inner) = value else { continue }
            let isFile =
                child == "data-file" || child == "file" && !driver.isFilter
                || driver == .blkdebug && inner["file"] == nil
            tree[child] = .object(try await completed(inner, isProtocol: isFile, options))
        }
        return tree
    }

    /// The names under which drivers have children.
    private static let childNames: Set<String> = ["file", "image", "target", "backing", "data-file"]

    /// Finds out the driver of the file of a name.
    private func protocolCompleted(_ tree: JSONObject) async throws(BlockError) -> JSONObject {
        guard case .string(let name)? = tree["filename"] else { throw BlockError("Must specify either driver or file") }
        var tree = tree
        tree["filename"] = nil
        for (member, value) in try ImageName.protocolOptions(name).members { tree[member] = value }
        guard tree["driver"] == nil, case .string(let path)? = tree["filename"] else { return tree }
        let kind = try? await FileDescriptor.statx(path).kind
        tree["driver"] = kind == .blockDevice || kind == .characterDevice ? "host_device" : "file"
        return tree
    }

    /// Finds out the format of the image in the child "file", whose options are completed.
    private func probedDriver(
        of tree: inout JSONObject, _ options: NodeOptions
    ) async throws(BlockError) -> String {
        switch tree["file"] {
        case .string(let name)?: return try await ImageFormat.probe(try graph.requireNode(named: name))
        case .object(let file)?:
            let file = try await completed(file, isProtocol: true, options)
            tree["file"] = .object(file)
            var reading = options
            reading.isReadOnly = true
            reading.forceShare = true
            // Whatever has the name is a node already, or gets it later.
            var unnamed = file
            unnamed["node-name"] = nil
            unnamed["read-only"] = nil
            unnamed["force-share"] = nil
            let node = try await open(try decode(unnamed), isRoot: false, inheriting: reading)
            do {
                let name = try await ImageFormat.probe(node)
                await graph.closeIfUnused(node)
                return name
            } catch {
                await graph.closeIfUnused(node)
                throw error
            }
        default: throw BlockError("Must specify either driver or file")
        }
    }

    private func decode(_ tree: JSONObject) throws(BlockError) -> BlockdevOptions {
        do {
            return try BlockdevOptions(decoding: QAPIValue(OptionTree.texts(.object(tree)), mode: .keyval))
        } catch {
            throw Self.error(error, in: tree)
        }
    }

    /// An error of the options in the words that tools use.
    private static func error(_ error: any Error, in tree: JSONObject) -> BlockError {
        let text = "\(error)"
        func parameter(_ end: String) -> [String]? {
            guard text.hasPrefix("Parameter '"), text.hasSuffix("' \(end)") else { return nil }
            return text.dropFirst(11).dropLast(end.utf8.count + 2).split(separator: ".").map(String.init)
        }
        if let path = parameter("is missing"), let child = path.last, childNames.contains(child) {
            return BlockError("A block device must be specified for \"\(child)\"")
        }
        guard let path = parameter("is unexpected"), let name = path.last else { return BlockError(text) }
        var node = tree
        for key in path.dropLast() { if case .object(let inner)? = node[key] { node = inner } }
        guard case .string(let driver)? = node["driver"] else { return BlockError(text) }
        return (try? isProtocol(driver)) == true
            ? BlockError("Block protocol '\(driver)' doesn't support the option '\(name)'")
            : BlockError("Block format '\(driver)' does not support the option '\(name)'")
    }

    private static func isProtocol(_ driver: String) throws(BlockError) -> Bool {
        guard let driver = BlockdevDriver(rawValue: driver) else { throw BlockError("Unknown driver '\(driver)'") }
        return switch driver {
        case .file, .hostDevice, .nullCo, .nullAio, .blkdebug: true
        case .qcow2, .raw, .copyBeforeWrite, .copyOnRead, .snapshotAccess, .throttle: false
        }
    }
}

extension BlockdevDriver {
    /// Whether the driver shows the data of its child "file", whatever that is.
    fileprivate var isFilter: Bool {
        switch self {
        case .copyBeforeWrite, .copyOnRead, .snapshotAccess, .throttle: true
        case .blkdebug, .file, .hostDevice, .nullAio, .nullCo, .qcow2, .raw: false
        }
    }
}
