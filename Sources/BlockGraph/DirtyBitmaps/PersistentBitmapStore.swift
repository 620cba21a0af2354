import IOLoop

/// What keeps dirty bitmaps in an image: a format driver that can do so.
///
/// Bitmaps that are to be kept are marked as persistent in the node's list. The driver puts those that the image has into
/// the list when the node is opened, and stores what the list holds when the node is closed or becomes read-only.
public protocol PersistentBitmapStore: AnyObject, Sendable {
    /// Checks whether a bitmap could be stored besides those that are persistent already.
    ///
    /// Error: the reason for which it could not, as in "Cannot store dirty bitmaps in qcow2 v2 files".
    @GraphActor func checkStorable(name: String, granularity: Int64, in node: BlockNode) throws(BlockError)

    /// Removes the bitmap of a name from the image, where it is there; durable on return. The bitmap in the node's list is
    /// the caller's. Errors: the image cannot be written; then it is unchanged.
    @GraphActor func removeStored(_ name: String) async throws(BlockError)
}

extension BlockGraph {
    /// Makes a dirty bitmap on a node for a user.
    ///
    /// - Parameters:
    ///   - name: 1 to 1023 bytes, unlike those of all bitmaps of the node.
    ///   - granularity: the bytes that one bit stands for, a power of two from 512 on; nil for the cluster size of the image
    ///     within 4 KiB to 64 KiB.
    ///   - recording: whether writes make it dirty from the start.
    ///   - persistent: whether the image keeps it when the node is closed.
    /// Errors: name or granularity will not do; the image cannot keep it.
    public func addBitmap(
        named name: String, to node: BlockNode, granularity: Int64? = nil, recording: Bool = true,
        persistent: Bool = false
    ) throws(BlockError) -> DirtyBitmap {
        let granularity = granularity ?? DirtyBitmap.defaultGranularity(clusterSize: node.driver.clusterSize)
        do {
            try DirtyBitmapList.check(name: name, granularity: granularity)
        } catch {
            throw BlockError(error)
        }
        if persistent { try checkPersistent(name, granularity: granularity, in: node) }
        do {
            return try node.bitmaps.add(
                name: name, length: node.length, granularity: granularity, recording: recording, persistent: persistent)
        } catch {
            throw BlockError(error)
        }
    }

    private func checkPersistent(_ name: String, granularity: Int64, in node: BlockNode) throws(BlockError) {
        if node.isReadOnly {
            throw BlockError("Cannot add a persistent bitmap to read-only or inactive node '\(node.name)'")
        }
        guard let store = node.driver.bitmapStore else {
            throw BlockError("Can't store persistent bitmaps to \(node.name)", causedBy: .ENOTSUP)
        }
        if node.bitmaps.bitmap(named: name) != nil { throw BlockError("Bitmap already exists: \(name)") }
        do {
            try store.checkStorable(name: name, granularity: granularity, in: node)
        } catch {
            throw BlockError("Can't make bitmap '\(name)' persistent in '\(node.name)': \(error.description)")
        }
    }

    /// Removes a dirty bitmap from a node and, where it is persistent, from the image. Inconsistent ones as well.
    ///
    /// Errors: the bitmap is in use; it belongs to an image that is open read-only, or that cannot be written.
    public func removeBitmap(_ bitmap: DirtyBitmap, of node: BlockNode) async throws(BlockError) {
        do {
            try bitmap.require(no: .toRemove)
        } catch {
            throw BlockError(error)
        }
        try await removeStored(bitmap, of: node)
        node.bitmaps.remove(bitmap)
    }

    /// Removes what the image has of a persistent bitmap; durable on return. The node keeps the bitmap, which is stored anew
    /// when the node is closed. Errors: the image is open read-only, or cannot be written.
    public func removeStored(_ bitmap: DirtyBitmap, of node: BlockNode) async throws(BlockError) {
        guard bitmap.isPersistent, let name = bitmap.name, let store = node.driver.bitmapStore else { return }
        if node.isReadOnly {
            throw BlockError("Cannot remove persistent bitmap '\(name)': no write access to node '\(node.name)'")
        }
        try await store.removeStored(name)
    }
}
