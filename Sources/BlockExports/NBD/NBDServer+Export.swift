import BlockGraph
import IOLoop
import NBDProtocol

extension NBDServer {
    /// Offers a node to clients. The export shows up in the list of exports, and is removed there or by ``stop()``.
    ///
    /// Resizing the node is not possible while it is exported.
    ///
    /// Errors: the id is malformed or taken; "NBD server not running"; "NBD server already has export named 'x'";
    /// "Cannot export read-only node as writable"; name or description too long; a bitmap is not found, in use, or
    /// enabled while the export cannot write; a permission conflict.
    @discardableResult
    public func export(_ options: NBDExportOptions) throws(BlockError) -> NBDExport {
        try check(id: options.id)
        let node = options.node
        let name = options.name ?? node.name
        if options.isWritable, node.isReadOnly { throw BlockError("Cannot export read-only node as writable") }
        var permissions = PermissionPair(used: .consistentRead, shared: .all.subtracting(.resize))
        if options.isWritable { permissions.used.insert(.write) }
        let backend = try node.graph.attach("an unnamed block device", to: node, permissions: permissions)
        do {
            return try export(options, name: name, backend: backend)
        } catch {
            node.graph.release(backend)
            throw error
        }
    }

    /// Checks what the server must know of an export, and adds it.
    private func export(
        _ options: NBDExportOptions, name: String, backend: BlockBackend
    ) throws(BlockError) -> NBDExport {
        guard isRunning else { throw BlockError("NBD server not running") }
        guard name.utf8.count <= NBD.maximumStringLength else { throw BlockError("export name '\(name)' too long") }
        if let description = options.description, description.utf8.count > NBD.maximumStringLength {
            throw BlockError("description '\(description)' too long")
        }
        guard !exports.contains(where: { !$0.isHidden && $0.info.name == name }) else {
            throw BlockError("NBD server already has export named '\(name)'")
        }
        let bitmaps = try findBitmaps(options)
        backend.isWriteThrough = options.isWriteThrough
        let export = NBDExport(
            id: options.id, info: info(name, options, bitmaps), backend: backend, bitmaps: bitmaps,
            loops: options.loops, onShutDown: { [weak self] in self?.forget($0) })
        append(export)
        return export
    }

    private func info(_ name: String, _ options: NBDExportOptions, _ bitmaps: [DirtyBitmap]) -> NBDExportInfo {
        let limits = options.node.driver.limits
        let alignment = UInt32(clamping: min(max(limits.requestAlignment, 1), 65536))
        let optimal = UInt32(clamping: min(limits.optimalTransfer, 1 << 20))
        let preferred = optimal > NBD.defaultPreferredBlock && optimal & (optimal - 1) == 0
        return NBDExportInfo(
            name: name, description: options.description, size: UInt64(options.node.length),
            isWritable: options.isWritable, minimumBlock: alignment,
            preferredBlock: max(preferred ? optimal : NBD.defaultPreferredBlock, alignment),
            allocationDepth: options.allocationDepth, bitmaps: bitmaps.map { $0.name ?? "" })
    }

    /// Finds the bitmaps of an export, none of them twice.
    private func findBitmaps(_ options: NBDExportOptions) throws(BlockError) -> [DirtyBitmap] {
        var found: [DirtyBitmap] = []
        for reference in options.bitmaps {
            let (bitmap, node) = try find(reference, options.node)
            let name = bitmap.name ?? ""
            guard !found.contains(where: { $0 === bitmap }) else {
                throw BlockError(BitmapError.busy(name).description)
            }
            guard options.isWritable || node.isReadOnly || !bitmap.isRecording else {
                throw BlockError("Enabled bitmap '\(name)' incompatible with readonly export")
            }
            do throws(BitmapError) {
                try bitmap.require(no: .toUse)
            } catch {
                throw BlockError(error)
            }
            let context = "qemu:dirty-bitmap:\(name)"
            guard context.utf8.count <= NBD.maximumStringLength else {
                throw BlockError("export name '\(name)' too long")
            }
            found.append(bitmap)
        }
        return found
    }

    private func find(
        _ reference: NBDExportOptions.Bitmap, _ root: BlockNode
    ) throws(BlockError) -> (DirtyBitmap, BlockNode) {
        switch reference {
        case .external(let nodeName, let name):
            do throws(BitmapError) {
                let (node, bitmap) = try root.graph.bitmap(named: name, onNode: nodeName)
                return (bitmap, node)
            } catch {
                throw BlockError(error)
            }
        case .name(let name):
            var next: BlockNode? = root
            while let node = next {
                if let bitmap = node.bitmaps.bitmap(named: name) { return (bitmap, node) }
                next = (node.driver.filteredChild ?? node.driver.backingChild)?.node
            }
            throw BlockError("Bitmap '\(name)' is not found")
        }
    }
}
