import BlockDrivers
import BlockGraph
import BlockNodes
import IOLoop

extension ImageCreation {
    /// Makes the image; durable on return. Where it cannot be made, files that were not there before are not there after.
    ///
    /// Errors: the file cannot be made, or is in use; options do not go together; there is no space.
    func create(at name: String, in session: ImageSession) async throws(BlockError) {
        do throws(BlockError) {
            switch format {
            case "qcow2": try await createQcow2(at: name, in: session)
            case "host_device": try await checkDevice(name, in: session)
            default:
                _ = try filePreallocation()
                try await withNewFile(at: name, in: session) { (node) async throws(BlockError) in
                    try await fillFile(node)
                }
            }
        } catch {
            guard error.errno == .EFBIG else { throw error }
            let advice = options.knows("cluster_size") ? " (try using a larger cluster size)" : ""
            throw BlockError("The image size is too large for file format '\(format)'\(advice)", errno: .EFBIG)
        }
    }

    /// Runs the body with the node of a file that is made where it is not there. It is empty then, unless it must exist.
    ///
    /// - Parameter mustExist: whether a file that is not there is an error.
    func withNewFile(
        at name: String, mustExist: Bool = false, in session: ImageSession,
        _ body: (BlockNode) async throws(BlockError) -> Void
    ) async throws(BlockError) {
        let path = name.hasPrefix("file:") ? String(name.dropFirst(5)) : name
        let isNew = (try? await FileDescriptor.statx(path)) == nil
        if !mustExist {
            var creation = FileCreationOptions(filename: path, size: 0)
            creation.isNoCopyOnWrite = options.flag("nocow") ?? false
            creation.extentSizeHint = Int64(clamping: options.size("extent_size_hint") ?? 1 << 20)
            try await FileCreator.create(creation)
        }
        do throws(BlockError) {
            let node = try await session.factory.openImage(
                named: "file:\(path)", format: "file", options: NodeOptions(), isRoot: false)
            do throws(BlockError) {
                try await body(node)
            } catch {
                await session.graph.closeIfUnused(node)
                throw error
            }
            await session.graph.closeIfUnused(node)
        } catch {
            if isNew { try? await FileDescriptor.unlink(path) }  // It was made for nothing.
            throw error
        }
    }

    /// Gives the file its length in whole sectors. The first sector is written: whatever looks at it sees no format.
    private func fillFile(_ node: BlockNode) async throws(BlockError) {
        let (rounded, overflow) = size.addingReportingOverflow(511)
        let length = overflow ? size : rounded / 512 * 512
        let backend = try node.graph.attach(
            "the new image", to: node, permissions: PermissionPair(used: [.write, .resize]))
        defer { node.graph.release(backend) }
        try await node.resize(to: length, exact: true, preallocation: try filePreallocation())
        guard length > 0 else { return }
        let buffer = BufferPool.shared.take(count: 512)
        defer { BufferPool.shared.give(buffer) }
        buffer.bytes.initializeMemory(as: UInt8.self, repeating: 0)
        do {
            try await backend.write(0..<512, from: buffer)
        } catch {
            throw BlockError("Could not clear the new image's first sector", causedBy: error)
        }
    }

    /// How the file's space is allocated.
    private func filePreallocation() throws(BlockError) -> Preallocation {
        let text = options["preallocation"] ?? "off"
        guard let mode = Preallocation(rawValue: text) else { throw BlockError("invalid parameter value: \(text)") }
        guard mode != .metadata else { throw BlockError("Unsupported preallocation mode: metadata") }
        return mode
    }

    /// A device is there already: its length must do.
    private func checkDevice(_ name: String, in session: ImageSession) async throws(BlockError) {
        let node: BlockNode
        do {
            node = try await session.factory.openImage(
                named: name, format: format, options: NodeOptions(), isRoot: false)
        } catch {
            throw BlockError(
                "Protocol driver '\(format)' does not support creating new images, so an existing image must be "
                    + "selected as the target; however, opening the given target as an existing image failed: "
                    + error.description, errno: error.errno)
        }
        let length = node.length
        await session.graph.closeIfUnused(node)
        guard length >= size else { throw BlockError("Current device size is too small", errno: .ENOSPC) }
    }
}
