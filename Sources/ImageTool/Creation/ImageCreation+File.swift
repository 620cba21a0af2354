import BlockDrivers
import BlockGraph
import BlockNodes
import IOLoop

extension ImageCreation {
    /// Makes the image. Errors: the file cannot be made, or is in use; options do not go together; there is no space.
    func create(at name: String, in session: ImageSession) async throws(BlockError) {
        switch format {
        case "host_device": try await checkDevice(name, in: session)
        default:
            do throws(BlockError) {
                try await createFile(at: name, in: session) { (node) async throws(BlockError) in
                    try await node.resize(to: size, exact: true, preallocation: try filePreallocation())
                }
            } catch {
                guard error.errno == .EFBIG else { throw error }
                throw BlockError("The image size is too large for file format '\(format)'", errno: .EFBIG)
            }
        }
    }

    /// Makes a file, or makes one empty that is there, and lets `fill` write to it.
    private func createFile(
        at name: String, in session: ImageSession, fill: (BlockNode) async throws(BlockError) -> Void
    ) async throws(BlockError) {
        let path = name.hasPrefix("file:") ? String(name.dropFirst(5)) : name
        _ = try filePreallocation()
        do {
            let file = try await FileDescriptor.open(path, [.readWrite, .create], mode: 0o644)
            file.closeNow()
        } catch {
            throw BlockError("Could not create '\(path)'", causedBy: error)
        }
        let node = try await session.factory.openImage(
            named: "file:\(path)", format: "file", options: NodeOptions(), isRoot: false)
        do throws(BlockError) {
            let backend = try session.graph.attach(
                "the new image", to: node,
                permissions: PermissionPair(used: [.write, .resize], shared: .consistentRead))
            do throws(BlockError) {
                try await node.resize(to: 0, exact: true)
                try await fill(node)
            } catch {
                await session.graph.detach(backend)
                throw error
            }
            await session.graph.detach(backend)
        } catch {
            await session.graph.closeIfUnused(node)
            throw error
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
        do throws(BlockError) {
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
        guard length >= size else { throw BlockError("device is too small") }
    }
}
