import Synchronization

/// The dirty bitmaps of a node, newest first, which is the order in which queries list them.
public final class DirtyBitmapList: Sendable {
    private let bitmaps = Mutex<[DirtyBitmap]>([])
    /// Whether the list has bitmaps: spares the write path of the usual node the lock.
    private let isOccupied = Atomic<Bool>(false)

    /// An empty list.
    public init() {}

    // MARK: The write path

    /// Marks what `range` touches as dirty in all recording bitmaps. To be called after each completed write, zeroing
    /// and discard of a guest, before the guest learns of its completion. Costs one load if there are no bitmaps.
    public func markDirty(_ range: Range<Int64>) {
        guard isOccupied.load(ordering: .acquiring) else { return }
        for bitmap in all { bitmap.markDirty(range) }
    }

    /// The same after a write that may have made the disk longer; see `DirtyBitmap`.
    func markDirty(_ range: Range<Int64>, diskLength length: @autoclosure () -> Int64) {
        guard isOccupied.load(ordering: .acquiring) else { return }
        let length = length()
        for bitmap in all { bitmap.markDirty(range, diskLength: length) }
    }

    // MARK: Queries

    /// All bitmaps, newest first.
    public var all: [DirtyBitmap] { bitmaps.withLock { $0 } }

    /// Whether the node has no bitmaps.
    public var isEmpty: Bool { bitmaps.withLock { $0.isEmpty } }

    /// What a query tells about all bitmaps, anonymous ones included, newest first.
    public var infos: [DirtyBitmapInfo] { all.map(\.info) }

    /// The bitmap of that name.
    /// - Throws: "Dirty bitmap 'x' not found".
    public func find(_ name: String) throws(BitmapError) -> DirtyBitmap {
        guard let bitmap = bitmap(named: name) else { throw .notFound(name) }
        return bitmap
    }

    /// The bitmap of that name, nil if there is none. Anonymous bitmaps are never found.
    public func bitmap(named name: String) -> DirtyBitmap? { all.first { $0.name == name } }

    // MARK: Changes

    /// Checks name and granularity of a bitmap that a user wants, as `block-dirty-bitmap-add` does before it looks
    /// whether the node can store a persistent bitmap.
    /// - Throws: for an empty name, and for a granularity that is no power of two or less than 512 bytes. (The schema
    ///   type of `granularity`, `uint32`, bounds it above: 2 GiB.)
    public static func check(name: String, granularity: Int64) throws(BitmapError) {
        if name.isEmpty { throw BitmapError("Bitmap name cannot be empty") }
        if granularity < 512 || granularity & (granularity - 1) != 0 {
            throw BitmapError("Granularity must be power of 2 and at least 512")
        }
    }

    /// Makes a bitmap for a user and adds it to the list.
    /// - Parameters:
    ///   - name: 1 to 1023 bytes, unlike all others in the list.
    ///   - length: the size of the node in bytes.
    ///   - granularity: a power of two, at least 512.
    ///   - recording: whether it records guest writes from the start.
    ///   - persistent: whether it is to be stored in the image; the caller has checked that the node can do that.
    /// - Throws: with QEMU's text if the name or the granularity will not do.
    public func add(
        name: String, length: Int64, granularity: Int64, recording: Bool = true, persistent: Bool = false
    ) throws(BitmapError) -> DirtyBitmap {
        try Self.check(name: name, granularity: granularity)
        if bitmap(named: name) != nil { throw BitmapError("Bitmap already exists: \(name)") }
        if name.utf8.count > DirtyBitmap.maxNameLength { throw BitmapError("Bitmap name too long: \(name)") }
        let bitmap = DirtyBitmap(
            name: name, length: length, granularity: granularity, recording: recording, persistent: persistent)
        insert(bitmap)
        return bitmap
    }

    /// Adds a bitmap, by default as the newest. For anonymous bitmaps, and to undo a removal.
    public func insert(_ bitmap: DirtyBitmap, at position: Int = 0) {
        bitmaps.withLock {
            $0.insert(bitmap, at: min(max(position, 0), $0.count))
            isOccupied.store(true, ordering: .releasing)
        }
    }

    /// Takes a bitmap out of the list.
    /// - Returns: where it was, for `insert(_:at:)`; nil if it was not there.
    @discardableResult
    public func remove(_ bitmap: DirtyBitmap) -> Int? {
        bitmaps.withLock { list in
            guard let position = list.firstIndex(where: { $0 === bitmap }) else { return nil }
            list.remove(at: position)
            isOccupied.store(!list.isEmpty, ordering: .releasing)
            return position
        }
    }
}

extension DirtyBitmap {
    /// The granularity that `block-dirty-bitmap-add` gives a bitmap if the user names none.
    /// - Parameter clusterSize: the cluster size of the node's format, nil if it has none.
    /// - Returns: the cluster size, but at least 4 KiB and at most 64 KiB; 64 KiB if there is none.
    public static func defaultGranularity(clusterSize: Int64?) -> Int64 {
        guard let clusterSize, clusterSize > 0 else { return 65536 }
        return min(max(clusterSize, 4096), 65536)
    }
}
