import BlockGraph
import IOLoop
import Qcow2Format
import Synchronization

/// The persistent bitmaps of an image. Spec: qcow2.txt, "Bitmaps".
///
/// While the image is open for writing, the bitmaps on disk are marked as in use, durably before the first change of the
/// disk: after a crash nobody trusts them. They are stored when the image is closed or becomes read-only, beside the old
/// ones, and count from the moment when the header refers to the new directory.
public final class Qcow2Bitmaps: PersistentBitmapStore {
    /// The most bytes of a bitmap's data.
    static let maximumDataSize: Int64 = 512 << 20

    /// Changes on the `GraphActor` in drained sections only, where everything that uses it runs.
    nonisolated(unsafe) private(set) var image: Qcow2Image
    /// The directory as on disk.
    private let directory: Mutex<[BitmapDirectoryEntry]>

    private init(_ image: Qcow2Image, _ directory: [BitmapDirectoryEntry]) {
        self.image = image
        self.directory = Mutex(directory)
    }

    /// Goes on with other tables of the same image, in a drained section.
    func move(to image: Qcow2Image) { self.image = image }

    /// The bitmaps that the image has, as on disk: those of an image that is open for writing are in use.
    public internal(set) var entries: [BitmapDirectoryEntry] {
        get { directory.withLock { $0 } }
        set { directory.withLock { $0 = newValue } }
    }

    /// Puts the image's bitmaps into the list of its node, and marks them as in use unless the node is read-only.
    ///
    /// Errors, in QEMU's words: the bitmaps cannot be read or make no sense; they cannot be marked.
    @GraphActor public static func load(_ image: Qcow2Image) async throws(BlockError) -> Qcow2Bitmaps {
        let header = image.header
        guard let place = header.bitmaps else { return Qcow2Bitmaps(image, []) }
        let node = image.node
        guard header.autoclearFeatures.contains(.bitmaps) else {
            node.graph.complain(
                """
                warning: a program lacking bitmap support modified this file, so all bitmaps are now considered \
                inconsistent
                Some clusters may be leaked, run 'qemu-img check -r' on the image file to fix.
                """)
            if !node.isReadOnly { try await forget(in: image) }
            return Qcow2Bitmaps(image, [])
        }
        let bitmaps = Qcow2Bitmaps(image, try await readDirectory(place, of: image))
        for entry in bitmaps.entries {
            let name = entry.nameText
            guard node.bitmaps.bitmap(named: name) == nil else { throw BlockError("Bitmap already exists: \(name)") }
            let bitmap = try await bitmaps.read(entry)
            bitmap.isReadOnly = node.isReadOnly
            node.bitmaps.insert(bitmap)
        }
        if !node.isReadOnly { try await bitmaps.markInUse() }
        return bitmaps
    }

    /// Takes bitmaps out of the header that are not to be trusted.
    private static func forget(in image: Qcow2Image) async throws(BlockError) {
        do throws(Errno) {
            try await image.updateHeader { $0.bitmaps = nil }
        } catch {
            throw BlockError("Could not update qcow2 header", causedBy: error)
        }
    }

    /// The bitmaps of the node that belong into the image, newest first, but for those that are inconsistent there.
    var current: [(name: String, bitmap: DirtyBitmap)] {
        image.node.bitmaps.all.compactMap { bitmap in
            guard let name = bitmap.name, bitmap.isPersistent, !bitmap.isInconsistent else { return nil }
            return (name, bitmap)
        }
    }

    // MARK: Limits

    @GraphActor public func checkStorable(name: String, granularity: Int64, in node: BlockNode) throws(BlockError) {
        guard image.header.version >= 3 else { throw BlockError("Cannot store dirty bitmaps in qcow2 v2 files") }
        guard name.utf8.count <= Qcow2.maximumBitmapNameLength else {
            throw BlockError("Name length exceeds maximum (\(Qcow2.maximumBitmapNameLength) characters)")
        }
        try Self.checkSize(length: image.virtualSize, granularity: granularity)
        let names = Set(entries.map(\.nameText)).union(current.map(\.name)).union([name])
        guard names.count <= Qcow2.maximumBitmaps else {
            throw BlockError("Maximum number of persistent bitmaps is already reached")
        }
        let size = names.reduce(0) { $0 + (BitmapDirectoryEntry.fixedSize + $1.utf8.count + 7) / 8 * 8 }
        guard size <= Qcow2.maximumBitmapDirectorySize else {
            throw BlockError("Not enough space in the bitmap directory")
        }
    }

    /// Error: the data of a bitmap would be too large.
    static func checkSize(length: Int64, granularity: Int64) throws(BlockError) {
        let granules = length / granularity + (length % granularity == 0 ? 0 : 1)
        guard granules <= 8 * maximumDataSize else {
            throw BlockError("Too much space will be occupied by the bitmap. Use larger granularity")
        }
    }

    // MARK: Being in use

    /// Marks all bitmaps on disk as in use, durably, and lets those of the node change. Error: the directory cannot be written.
    @GraphActor public func markInUse() async throws(BlockError) {
        var marked = entries
        for index in marked.indices { marked[index].flags.insert(.inUse) }
        if marked != entries, let place = image.header.bitmaps {
            do throws(Errno) {
                let bytes = try encode(marked)
                try await image.writeBytes(bytes, at: Int64(place.directoryOffset))
                try await image.file.node.flush()
            } catch {
                throw BlockError("Can't update bitmap directory", causedBy: error)
            }
            entries = marked
        }
        setReadOnly(false)
    }

    /// Whether the persistent bitmaps of the node can change.
    @GraphActor func setReadOnly(_ isReadOnly: Bool) {
        for bitmap in image.node.bitmaps.all where bitmap.isPersistent { bitmap.isReadOnly = isReadOnly }
    }
}
