import Synchronization

/// A bitmap on a node: what has been written since it was made or cleared.
///
/// Safe to use from every thread: the I/O path marks, the control plane queries and changes. Queries that take longer
/// work on a `snapshot()`, which is O(1).
public final class DirtyBitmap: Sendable {
    /// The longest name in bytes.
    public static let maxNameLength = 1023

    /// The name; nil for the bitmaps that drivers and jobs use for themselves.
    public let name: String?
    /// The bytes that one bit stands for.
    public let granularity: Int64

    private struct State {
        var bits: HierarchicalBitmap
        var isRecording: Bool
        var isBusy = false
        var isPersistent: Bool
        var isReadOnly = false
        var isInconsistent = false
        /// Takes the writes meanwhile.
        var successor: DirtyBitmap?
    }

    private let state: Mutex<State>

    /// A clean bitmap that is on no node yet; `DirtyBitmapList.add` makes those that users ask for.
    /// - Parameters:
    ///   - name: nil for an internal bitmap.
    ///   - length: the size of the disk in bytes.
    ///   - granularity: a power of two.
    ///   - recording: whether it records guest writes from the start.
    ///   - persistent: whether it is to be stored in the image.
    public init(
        name: String?, length: Int64, granularity: Int64, recording: Bool = true, persistent: Bool = false
    ) {
        self.name = name
        self.granularity = granularity
        let bits = HierarchicalBitmap(length: length, granularity: granularity)
        state = Mutex(State(bits: bits, isRecording: recording, isPersistent: persistent))
    }

    // MARK: The write path

    /// Marks what `range` touches as dirty if the bitmap is recording. Called after each guest write has completed; a
    /// range that is dirty already costs a look-up.
    public func markDirty(_ range: Range<Int64>) {
        state.withLock { if $0.isRecording, $0.successor == nil { $0.bits.set(range) } }
    }

    /// The same after a write that may have made the disk longer: the bitmap follows first, so that nothing written is lost
    /// to it, in whatever order such writes come back.
    /// - Parameter length: the size of the disk in bytes after the write; what it does not reach is left out.
    func markDirty(_ range: Range<Int64>, diskLength length: Int64) {
        state.withLock { state in
            // A driver's own bitmaps, which record nothing, belong to a point in time and keep their length.
            guard state.isRecording || name != nil else { return }
            if range.upperBound > state.bits.length, length > state.bits.length { state.bits.truncate(to: length) }
            if state.isRecording, state.successor == nil { state.bits.set(range) }
        }
    }

    // MARK: Bits

    /// The bits as they are now. Changes made later, in either, do not show in the other.
    public func snapshot() -> HierarchicalBitmap { state.withLock { $0.bits } }

    /// The size of the disk in bytes.
    public var length: Int64 { state.withLock { $0.bits.length } }

    /// Changes the bits in one step; other threads see all of the change or nothing. `body` must be short.
    public func withBits<Result: Sendable>(_ body: (inout sending HierarchicalBitmap) -> sending Result) -> Result {
        state.withLock { body(&$0.bits) }
    }

    /// Makes all granules clean, and returns what was dirty, so that `restore(_:)` can undo it.
    @discardableResult
    public func clear() -> HierarchicalBitmap {
        state.withLock { state in
            let old = state.bits
            state.bits.clear()
            return old
        }
    }

    /// Undoes a `clear()` or a `merge(_:)` with what it returned.
    /// - Parameters:
    ///   - bits: what was dirty before.
    ///   - keepingWrites: whether what is dirty now stays dirty as well: true after a `clear()`, so that writes made
    ///     since are not lost. A merge is undone with false, on a drained node.
    public func restore(_ bits: HierarchicalBitmap, keepingWrites: Bool) {
        state.withLock { state in
            if keepingWrites { state.bits.merge(bits) } else { state.bits = bits }
        }
    }

    /// Makes dirty what is dirty in any of `sources`, in one step, and returns what was dirty before.
    /// - Throws: if a source is of another size (nothing is changed then), with QEMU's text.
    @discardableResult
    public func merge(_ sources: [HierarchicalBitmap]) throws(BitmapError) -> HierarchicalBitmap {
        let (old, mismatch) = state.withLock { state in
            let old = state.bits
            if let other = sources.first(where: { $0.length != old.length }) { return (old, Optional(other.length)) }
            for source in sources { state.bits.merge(source) }
            return (old, nil)
        }
        if let mismatch { throw .differentSizes(destination: old.length, source: mismatch) }
        return old
    }

    /// Follows a change of the disk's size; what is added is clean.
    public func truncate(to length: Int64) { state.withLock { $0.bits.truncate(to: length) } }

    // MARK: Successors

    /// Makes a bitmap without name that takes the writes from now on, while a job uses this one, which is busy and stays as it
    /// is. It is for the caller to put into the list of the node, as the newest.
    public func makeSuccessor(length: Int64) -> DirtyBitmap {
        let successor = DirtyBitmap(name: nil, length: length, granularity: granularity, recording: isRecording)
        state.withLock { state in
            state.successor = successor
            state.isBusy = true
        }
        return successor
    }

    /// The job is over: this bitmap takes the writes again, and holds what its successor holds; and what it held before, where
    /// that is to be kept. The successor is for the caller to take out of the list, afterwards: until then no write is lost.
    public func endSuccession(keepingBits: Bool) {
        state.withLock { state in
            guard let successor = state.successor else { return }
            if !keepingBits { state.bits.clear() }
            state.bits.merge(successor.snapshot())
            state.successor = nil
            state.isBusy = false
        }
    }

    /// The bits that an image is to keep: with those of a successor, as a crash must not lose them.
    public var bitsToStore: HierarchicalBitmap {
        state.withLock { state in state.successor.map { state.bits.merged(with: $0.snapshot()) } ?? state.bits }
    }

    // MARK: State

    /// Whether guest writes are recorded.
    public var isRecording: Bool {
        get { state.withLock { $0.isRecording } }
        set { state.withLock { $0.isRecording = newValue } }
    }

    /// Whether a job or an export uses the bitmap, so that users may not change it.
    public var isBusy: Bool {
        get { state.withLock { $0.isBusy } }
        set { state.withLock { $0.isBusy = newValue } }
    }

    /// Whether the bitmap is, or will be, stored in the image.
    public var isPersistent: Bool {
        get { state.withLock { $0.isPersistent } }
        set { state.withLock { $0.isPersistent = newValue } }
    }

    /// Whether the stored bitmap belongs to an image that is open read-only.
    public var isReadOnly: Bool {
        get { state.withLock { $0.isReadOnly } }
        set { state.withLock { $0.isReadOnly = newValue } }
    }

    /// Whether the stored bitmap was not saved properly. Such a bitmap does not record and shows no dirty bytes.
    public var isInconsistent: Bool { state.withLock { $0.isInconsistent } }

    /// Makes the bitmap an inconsistent one: it stops recording, and its bits are dropped.
    public func markInconsistent() {
        state.withLock {
            $0.isInconsistent = true
            $0.isRecording = false
            $0.bits.clear()
        }
    }

    /// What a query tells.
    public var info: DirtyBitmapInfo {
        state.withLock {
            DirtyBitmapInfo(
                name: name, count: $0.bits.dirtyByteCount, granularity: granularity, recording: $0.isRecording,
                busy: $0.isBusy, persistent: $0.isPersistent, inconsistent: $0.isInconsistent)
        }
    }

    /// What a command needs a bitmap not to be.
    public struct Obstacles: OptionSet, Sendable {
        /// The bits.
        public let rawValue: UInt8

        /// A set with the given bits.
        public init(rawValue: UInt8) { self.rawValue = rawValue }

        /// In use by a job or an export.
        public static let busy = Obstacles(rawValue: 1)
        /// Stored in an image that is open read-only.
        public static let readOnly = Obstacles(rawValue: 2)
        /// Not saved properly.
        public static let inconsistent = Obstacles(rawValue: 4)

        /// What stands against changing the bits (`block-dirty-bitmap-clear`, the target of a merge).
        public static let toChange: Obstacles = [.busy, .readOnly, .inconsistent]
        /// What stands against reading the bits, enabling or disabling (the source of a merge, an export, a job).
        public static let toUse: Obstacles = [.busy, .inconsistent]
        /// What stands against `block-dirty-bitmap-remove`. (A stored bitmap of a read-only node is refused by the node.)
        public static let toRemove: Obstacles = [.busy]
    }

    /// Checks that none of `obstacles` holds.
    /// - Throws: with QEMU's text for the first one that does, in the order busy, read-only, inconsistent.
    public func require(no obstacles: Obstacles) throws(BitmapError) {
        let (busy, readOnly, inconsistent) = state.withLock { ($0.isBusy, $0.isReadOnly, $0.isInconsistent) }
        let name = name ?? ""
        if obstacles.contains(.busy), busy { throw .busy(name) }
        if obstacles.contains(.readOnly), readOnly { throw .readOnly(name) }
        if obstacles.contains(.inconsistent), inconsistent { throw .inconsistent(name) }
    }
}
