import BlockGraph
import IOLoop

/// The file's part in changes of permissions: the image lock, and opening for writing once somebody wants to write.
extension FileDriver {
    @GraphActor public func preparePermissions(_ permissions: PermissionPair, of node: BlockNode) throws(BlockError) {
        let wantsWrite = !permissions.used.isDisjoint(with: [.write, .writeUnchanged, .resize])
        if wantsWrite, node.options.isAutoReadOnly, !isWritable { try openForWriting(node) }
        try lock?.acquire(permissions)
    }

    @GraphActor public func commitPermissions(of node: BlockNode) { lock?.reduce(to: node.permissions) }
    @GraphActor public func abortPermissions(of node: BlockNode) { lock?.reduce(to: node.permissions) }

    /// Opens the same file for writing, as `auto-read-only` promises for the first writer.
    @GraphActor private func openForWriting(_ node: BlockNode) throws(BlockError) {
        let reopened: FileDescriptor
        do {
            reopened = try FileDriver.reopen(file, writable: true, direct: node.options.cacheDirect)
        } catch {
            throw BlockError("Could not reopen file", errno: error)
        }
        replaceDescriptor(with: reopened, isWritable: true, limits: limits)
    }

    @GraphActor public func prepareReopen(_ request: ReopenRequest) async throws(BlockError) -> ReopenAction {
        if let configuration = request.driverOptions as? FileConfiguration {
            guard configuration.filename == self.configuration.filename else {
                throw BlockError("Cannot change the option 'filename'")
            }
            guard configuration.locking == self.configuration.locking else {
                throw BlockError("Cannot change the option 'locking'")
            }
        }
        let options = request.nodeOptions
        let wantsWritable = !options.isReadOnly && (!options.isAutoReadOnly || isWritable)
        let isDirect = limits.memoryAlignment > 1
        guard wantsWritable != isWritable || options.cacheDirect != isDirect else { return ReopenAction() }
        let reopened: FileDescriptor
        do {
            reopened = try FileDriver.reopen(file, writable: wantsWritable, direct: options.cacheDirect)
        } catch {
            throw BlockError("Could not reopen file", errno: error)
        }
        let limits = await FileDriver.limits(of: reopened, direct: options.cacheDirect)
        return ReopenAction(
            commit: { self.replaceDescriptor(with: reopened, isWritable: wantsWritable, limits: limits) },
            abort: { reopened.closeNow() })
    }
}
