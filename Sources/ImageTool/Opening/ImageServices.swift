import BlockGraph
import BlockNodes
import Glibc
import IOLoop
import JSON
import QAPI
import QMPSchema

/// What other programs need of the image utility: objects, temporary overlays, and texts about formats.
@GraphActor
public final class ImageServices {
    private lazy var session = ImageSession()

    /// Services over a graph of their own.
    public nonisolated init() {}

    /// The graph in which nodes are made.
    public var graph: BlockGraph { session.graph }

    /// Makes nodes in the graph, which may refer to the objects.
    public var factory: NodeFactory { session.factory }

    /// Makes the object of an `--object` option. Error: there is no such kind, or its options are wrong.
    public func makeObject(_ definition: String) throws(BlockError) {
        do {
            try session.objects.add(definition)
        } catch {
            throw BlockError(error.message ?? "", hint: error.hint)
        }
    }

    /// Opens an empty overlay of a node, in a file that is gone when the overlay is closed.
    ///
    /// The file is made in the folder that `TMPDIR` names, or in `/var/tmp`. Errors: it cannot be made.
    public func openOverlay(of node: BlockNode, options: NodeOptions) async throws(BlockError) -> BlockNode {
        let folder = getenv("TMPDIR").map { String(cString: $0) } ?? "/var/tmp"
        let path = try Self.makeFile(in: folder)
        defer { unlink(path) }
        do throws(ToolFailure) {
            var creation = try ImageCreation(format: "qcow2")
            creation.size = node.length
            try await failing { () async throws(BlockError) in try await creation.create(at: path, in: session) }
        } catch {
            throw BlockError("Could not create temporary overlay '\(path)': \(error.message ?? "")")
        }
        let name = path.replacing(",", with: ",,")
        return try await factory.openImage(
            options: "driver=qcow2,file.driver=file,file.filename=\(name),backing=\(node.name)", options: options,
            isRoot: false)
    }

    private static func makeFile(in folder: String) throws(BlockError) -> String {
        var template = Array("\(folder)/cairn.XXXXXX".utf8CString)
        let descriptor = mkstemp(&template)
        guard descriptor >= 0 else {
            throw BlockError("Could not get temporary filename", causedBy: Errno(rawValue: errno))
        }
        Glibc.close(descriptor)
        return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// The lines that tell of what only the format of a node has, without a heading.
    public static func formatSpecificLines(of node: BlockNode) async -> [String] {
        let info = await NodeDescription(node).imageInfo(flat: true)
        guard case .object(let specific)? = info.encodeMembers()["format-specific"],
            case .object(let data)? = specific["data"]
        else { return [] }
        return ImageReport.lines(of: data, depth: 0)
    }
}
