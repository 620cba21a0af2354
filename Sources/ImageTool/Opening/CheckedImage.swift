import BlockDrivers
import BlockGraph
import BlockNodes
import CLinuxShims
import IOLoop
import QMPSchema

/// An image whose structures are checked: its file alone is open then, so that nothing else changes it.
@GraphActor
struct CheckedImage {
    /// The format.
    let format: String
    private let file: BlockNode

    /// Opens an image for checking, and for writing where it is repaired.
    ///
    /// Failure: as for every image; status 63: images of this format cannot be checked.
    static func open(
        _ source: ImageSource, repair: Qcow2Repair, in session: ImageSession
    ) async throws(ToolFailure) -> CheckedImage {
        if repair != .none, source.forceShare {
            throw ToolFailure(
                "Could not open '\(source.name)': force-share=on can only be used with read-only images")
        }
        // With the whole chain: an image is not checked whose other files are missing.
        let image = try await session.open(source)
        if repair != .none { session.warnOfGuess(image, .writing) }
        guard image.node.driver is Qcow2Driver, let file = image.node.child(named: "file")?.node,
            var options = file.sourceOptions as? BlockdevOptions
        else { throw ToolFailure("This image format does not support checks", status: 63) }
        let format = image.node.driver.driverName
        guard repair != .none else { return CheckedImage(format: format, file: file) }
        var nodeOptions = image.node.options
        nodeOptions.isReadOnly = false
        options.readOnly = false
        options.nodeName = nil
        await session.close(image)
        let node = try await failing("Could not open '\(source.name)'") { () async throws(BlockError) in
            let node = try await session.factory.open(options, isRoot: false, inheriting: nodeOptions)
            do throws(BlockError) {
                let permissions = PermissionPair(
                    used: [.consistentRead, .write, .resize], shared: [.consistentRead, .writeUnchanged])
                _ = try session.graph.attach("the repair", to: node, permissions: permissions)
            } catch {
                await session.graph.closeIfUnused(node)
                throw error
            }
            return node
        }
        return CheckedImage(format: format, file: node)
    }

    /// Checks the image; findings are printed on standard error. Failure: the check cannot go on.
    func check(repair: Qcow2Repair) async throws(ToolFailure) -> Qcow2CheckResult {
        try await failing { () async throws(BlockError) in
            try await Qcow2Checker.check(file, repair: repair) { message in
                message.isProgramError ? printError(message.text) : cairn_print_error(message.text)
            }
        }
    }
}
