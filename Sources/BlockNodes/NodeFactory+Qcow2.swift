import BlockDrivers
import BlockGraph
import IOLoop
import JSON
import QMPSchema
import Qcow2Format

/// qcow2 images, whose headers name further images.
extension NodeFactory {
    /// Makes the children of a qcow2 image but its file, which is there, and the driver above them.
    ///
    /// Children that have been made are in `children` on an error.
    func makeQcow2(
        _ options: BlockdevOptionsQcow2, in node: BlockNode, children: inout [String: BlockNode]
    ) async throws(BlockError) -> any BlockDriver {
        let file = try Self.require("file", in: children)
        let header = try await Qcow2Driver.header(of: file)
        guard header.encryptionMethod == .none else { throw BlockError("Encrypted qcow2 images are not supported") }
        if case .reference(node.name) = options.backing {
            throw BlockError("Making '\(node.name)' a backing child of '\(node.name)' would create a cycle")
        }
        let dataFile = try await dataFile(options.dataFile, header, node.options)
        children["data-file"] = dataFile
        let backing = try await backing(options.backing, header, file: file, node.options)
        children["backing"] = backing
        let driver = Qcow2Driver.open(
            Qcow2Configuration(options), in: node, header: header, file: file, dataFile: dataFile, backing: backing)
        if let backing, options.backing == nil {
            driver.automaticBackingFile = NodeDescription(backing).filename
        } else {
            driver.automaticBackingFile = header.backingFileName
        }
        driver.leavesBackingClosed = options.backing == nil && !opensBackingImages
        return driver
    }

    /// The external data file of an image that has one: the one of the options, else the one that the header names.
    private func dataFile(
        _ reference: BlockdevRef?, _ header: Qcow2Header, _ options: NodeOptions
    ) async throws(BlockError) -> BlockNode? {
        guard header.hasDataFile else {
            guard reference == nil else {
                throw BlockError("'data-file' can only be set for images with an external data file")
            }
            return nil
        }
        if let reference { return try await child(reference, inheriting: options.inherited(byChild: "data-file")) }
        guard let name = header.dataFileName, !name.isEmpty else {
            throw BlockError("'data-file' is required for this image")
        }
        guard opensDataFiles else {
            return try await openImage(named: "null-co://", format: "null-co", options: options, isRoot: false)
        }
        // QEMU does not look for it at the image's directory, but at its own.
        return try await openProtocol(named: name, inheriting: options)
    }

    /// The backing image: the one of the options, else the one that the header names.
    private func backing(
        _ reference: BlockdevRefOrNull?, _ header: Qcow2Header, file: BlockNode, _ options: NodeOptions
    ) async throws(BlockError) -> BlockNode? {
        let inherited = options.inherited(byChild: "backing")
        do {
            switch reference {
            case .null: return nil
            case .reference(let name): return try await child(.reference(name), inheriting: inherited)
            case .definition(let definition): return try await child(.definition(definition), inheriting: inherited)
            case nil:
                guard opensBackingImages, let name = header.backingFileName, !name.isEmpty else { return nil }
                return try await openBacking(
                    named: try ImageName.resolve(name, relativeTo: NodeDescription(file).filename),
                    format: header.backingFormat, inherited)
            }
        } catch {
            throw BlockError("Could not open backing file: \(error.description)", errno: error.errno, hint: error.hint)
        }
    }

    /// Opens the backing image that a header names. Error: the image is above itself.
    private func openBacking(
        named name: String, format: String?, _ options: NodeOptions
    ) async throws(BlockError) -> BlockNode {
        var nested = self
        guard nested.chain.insert(await ImageIdentity(named: name)).inserted else {
            throw BlockError("Backing file '\(name)' creates an infinite loop.")
        }
        let format = format.flatMap { $0.isEmpty ? nil : $0 }
        return try await nested.openImage(named: name, format: format, options: options, isRoot: false)
    }
}

/// What tells images apart that names in headers stand for.
enum ImageIdentity: Hashable, Sendable {
    /// A file, whatever it is called.
    case file(device: UInt64, inode: UInt64)
    /// Anything else.
    case name(String)

    /// The identity of the image of a name.
    init(named name: String) async {
        if ImageName.scheme(of: name) == nil, let status = try? await FileDescriptor.statx(name) {
            self = .file(device: status.device, inode: status.inode)
        } else {
            self = .name(name)
        }
    }
}
