import BlockGraph
import IOLoop

/// The file's part in changes of permissions: the image lock, and opening for writing once somebody wants to write.
extension FileDriver {
    @GraphActor public func preparePermissions(_ permissions: PermissionPair, of node: BlockNode) throws(BlockError) {
        let wantsWrite = !permissions.used.isDisjoint(with: [.write, .writeUnchanged, .resize])
        if wantsWrite, node.options.isAutoReadOnly, !isWritable { try openForWriting() }
        do {
            try lock?.acquire(lockedPermissions(permissions, of: node), filename: configuration.filename)
        } catch {
            pending?.closeNow()
            pending = nil
            throw error
        }
    }

    @GraphActor public func commitPermissions(of node: BlockNode) {
        lock?.reduce(to: lockedPermissions(node.permissions, of: node))
        guard let file = pending else { return }
        pending = nil
        replaceDescriptor(withWritable: file)
    }

    @GraphActor public func abortPermissions(of node: BlockNode) {
        lock?.reduce(to: lockedPermissions(node.permissions, of: node))
        pending?.closeNow()
        pending = nil
    }

    /// What the lock tells other processes: with `force-share` they may do anything.
    @GraphActor private func lockedPermissions(_ permissions: PermissionPair, of node: BlockNode) -> PermissionPair {
        PermissionPair(used: permissions.used, shared: node.options.forceShare ? .all : permissions.shared)
    }

    /// Opens the same file for writing, as `auto-read-only` promises for the first writer.
    @GraphActor private func openForWriting() throws(BlockError) {
        do {
            pending = try FileDriver.reopen(file, writable: true, direct: isDirect)
        } catch {
            throw BlockError("Could not open '\(configuration.filename)'", causedBy: error)
        }
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
        guard wantsWritable != isWritable || options.cacheDirect != isDirect else { return ReopenAction() }
        let reopened: FileDescriptor
        do {
            reopened = try FileDriver.reopen(file, writable: wantsWritable, direct: options.cacheDirect)
        } catch {
            throw BlockError("Could not reopen file", causedBy: error)
        }
        let limits = await FileDriver.limits(of: reopened, direct: options.cacheDirect)
        return ReopenAction(
            commit: { self.adopt(reopened, isWritable: wantsWritable, options: options, limits: limits) },
            abort: { reopened.closeNow() })
    }

    /// Takes a descriptor over that was opened for a reopening.
    @GraphActor private func adopt(
        _ file: FileDescriptor, isWritable: Bool, options: NodeOptions, limits: BlockLimits
    ) {
        guard self.isWritable, !isWritable, !options.isReadOnly else {
            return replaceDescriptors(with: file, isWritable: isWritable, limits: limits)
        }
        // The first writer came in the same step. The file was opened for it a moment ago, so that this works again; if it
        // does not, the node goes on with that descriptor and the former cache options.
        defer { file.closeNow() }
        guard let again = try? FileDriver.reopen(file, writable: true, direct: options.cacheDirect) else { return }
        replaceDescriptors(with: again, isWritable: true, limits: limits)
    }

    /// Whether the page cache is left out.
    private var isDirect: Bool { limits.memoryAlignment > 1 }
}
