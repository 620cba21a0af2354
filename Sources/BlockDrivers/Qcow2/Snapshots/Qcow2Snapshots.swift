import BlockGraph
import Glibc
import IOLoop
import Qcow2Format
import Synchronization

/// The internal snapshots of an image. Spec: qcow2.txt, "Snapshots".
///
/// Every change is made so that a crash leaves the old list or the new one: what the new list needs is on disk before the
/// header refers to it. Refcounts and flags of clusters that change between the two are covered by the dirty bit: an image
/// that was left in between is repaired when it is opened for writing.
///
/// Changes happen one at a time, and while the image is drained.
public final class Qcow2Snapshots: InternalSnapshotStore {
    /// The longest name that a new snapshot gets, in bytes; what is beyond is cut off.
    public static let maximumNameLength = 255

    /// The snapshot table as in the image.
    struct Table: Sendable {
        var entries: [SnapshotTableEntry] = []
        /// The bytes of the entries on disk.
        var byteCount = 0
    }

    /// Changes on the `GraphActor` in drained sections only, where everything that uses it runs.
    nonisolated(unsafe) private(set) var image: Qcow2Image
    private let state: Mutex<Table>

    private init(_ image: Qcow2Image, _ table: Table) {
        self.image = image
        state = Mutex(table)
    }

    /// Reads the snapshot table of an image. Errors: it cannot be read, or has entries beyond the limits.
    public static func load(_ image: Qcow2Image) async throws(BlockError) -> Qcow2Snapshots {
        let snapshots = Qcow2Snapshots(image, try await readTable(of: image))
        snapshots.protectTables()
        return snapshots
    }

    /// Goes on with other tables of the same image, in a drained section.
    func move(to image: Qcow2Image) {
        self.image = image
        protectTables()
    }

    /// The entries of the snapshot table as in the image.
    public var entries: [SnapshotTableEntry] { state.withLock { $0.entries } }

    /// The bytes of the snapshot table in the file; empty where there is none.
    var tableRange: ByteRange {
        let offset = image.header.snapshotsOffset
        return offset..<offset + Int64(state.withLock { $0.byteCount })
    }

    // MARK: Queries

    @GraphActor public func list() throws(Errno) -> [InternalSnapshot] {
        try checkSupported()
        return entries.map(InternalSnapshot.init)
    }

    /// Images with an external data file cannot have snapshots.
    private func checkSupported() throws(Errno) {
        if image.geometry.hasDataFile { throw .ENOTSUP }
    }

    /// Shows the disk of a snapshot instead of the current one, for reading: the image must be open read-only, and drained.
    /// The length stays that of the image. ENOENT: there is no such id.
    @GraphActor public func show(id: String) async throws(BlockError) {
        precondition(image.node.isReadOnly, "showing a snapshot of an image that is open for writing")
        guard let entry = entries.first(where: { $0.idText == id }) else {
            throw BlockError("Failed to load snapshot: Can't find snapshot", errno: .ENOENT)
        }
        let needed = l1EntryCount(for: image.virtualSize)
        let l1 = try await readL1(of: entry)
        _ = image.adopt(l1: l1 + Array(repeating: 0, count: max(0, needed - l1.count)), at: Int64(entry.l1TableOffset))
    }

    // MARK: Changes

    @GraphActor public func create(
        name: String, instructionCount: UInt64?
    ) async throws(Errno) -> InternalSnapshot {
        try checkSupported()
        let former = entries
        guard former.count < Qcow2.maximumSnapshots else { throw .EFBIG }
        try await image.commit()
        let l1 = image.l1Entries
        let l1Range = try await image.writeNewTable(l1.map { $0 & ~Qcow2.copiedFlag })
        var entry = newEntry(name, l1: l1Range, count: l1.count)
        entry.instructionCount = instructionCount
        let table: ByteRange
        do throws(Errno) {
            table = try await writeTable(former + [entry])
        } catch {
            image.abandon(l1Range)
            throw error
        }
        let oldTable = tableRange
        do throws(Errno) {
            try await share(l1) { (isOurs) async throws(Errno) in
                try await image.updateHeader { header in
                    header.snapshotCount = former.count + 1
                    header.snapshotsOffset = table.lowerBound
                    if isOurs { header.incompatibleFeatures.remove(.dirty) }
                }
            }
        } catch {
            image.abandon(l1Range)
            image.abandon(table)
            throw error
        }
        adopt(former + [entry], in: table)
        image.release(oldTable, reason: .other)
        return InternalSnapshot(entry)
    }

    /// Makes everything below the active L1 table shared with one more, and then calls the body, which makes that known;
    /// whether it has to clear the dirty bit. After an error all is as before, but that the dirty bit may be set.
    private func share(
        _ l1: [UInt64], _ publish: (Bool) async throws(Errno) -> Void
    ) async throws(Errno) {
        let isOurs = try await image.markCritical()
        let marked: Set<Int>
        do throws(Errno) {
            marked = try await image.addReferences(below: l1)
        } catch {
            await image.endCritical(isOurs)
            throw error
        }
        do throws(Errno) {
            // The references are on disk before anything relies on them.
            try await image.commit()
            try await image.clearCopiedFlags(below: l1, at: marked)
            image.dropL2Cache()
            image.setL1CopiedFlags { _ in false }
            try await image.commit()
            try await publish(isOurs)
        } catch {
            await unshare(l1, isOurs)
            throw error
        }
    }

    /// Undoes `share`. What fails here leaks, and leaves the dirty bit set.
    private func unshare(_ l1: [UInt64], _ isOurs: Bool) async {
        image.dropL2Cache()
        do throws(Errno) {
            try await image.releaseReferences(below: l1)
            try await image.settle()
            try await image.restoreCopiedFlags()
            try await image.commit()
        } catch {
            return
        }
        await image.endCritical(isOurs)
    }

    @GraphActor public func apply(id: String) async throws(BlockError) {
        guard image.node.bitmaps.isEmpty else {
            throw BlockError("Device has active dirty bitmaps", errno: .ENOTSUP)
        }
        guard let entry = entries.first(where: { $0.idText == id }) else {
            throw BlockError("Failed to load snapshot", causedBy: .ENOENT)
        }
        let size = entry.diskSize.map { Int64(clamping: $0) } ?? image.virtualSize
        guard size % 512 == 0 else {
            throw BlockError("The new size must be a multiple of 512", errno: .EINVAL)
        }
        let l1 = try await readL1(of: entry)
        let count = max(l1EntryCount(for: size), l1.count)
        guard count <= Qcow2.maximumL1TableSize / 8 else {
            throw BlockError("Failed to grow the L1 table", causedBy: .EFBIG)
        }
        do throws(Errno) {
            try await activate(l1 + Array(repeating: 0, count: count - l1.count), size: size)
        } catch {
            throw BlockError("Failed to load snapshot", causedBy: error)
        }
    }

    /// Makes the tables below an L1 table the active ones, besides those that have them already.
    private func activate(_ l1: [UInt64], size: Int64) async throws(Errno) {
        try await image.commit()
        let former = image.l1Entries
        let unmarked = l1.map { $0 & ~Qcow2.copiedFlag }
        let range = try await image.writeNewTable(unmarked)
        let isOurs: Bool
        do throws(Errno) {
            isOurs = try await image.markCritical()
        } catch {
            image.abandon(range)
            throw error
        }
        do throws(Errno) {
            try await switchTables(to: unmarked, at: range, size: size)
        } catch {
            image.abandon(range)
            await image.endCritical(isOurs)
            throw error
        }
        let old = image.adopt(l1: unmarked, at: range.lowerBound)
        // The disk is what it should be. What cannot be released leaks, and is repaired under the dirty bit.
        do throws(Errno) {
            try await image.releaseReferences(below: former)
            image.release(old, reason: .other)
            try await image.settle()
        } catch {
            return
        }
        await image.endCritical(isOurs)
    }

    private func switchTables(to l1: [UInt64], at range: ByteRange, size: Int64) async throws(Errno) {
        let marked = try await image.addReferences(below: l1)
        do throws(Errno) {
            try await image.commit()
            // In tables that only snapshots use, the flags need not be right.
            try await image.clearCopiedFlags(below: l1, at: marked)
            try await image.file.node.flush()
            try await image.updateHeader { header in
                header.l1TableOffset = range.lowerBound
                header.l1Size = l1.count
                header.virtualSize = size
            }
        } catch {
            try? await image.releaseReferences(below: l1)
            throw error
        }
    }

    @GraphActor public func delete(id: String) async throws(BlockError) {
        let former = entries
        guard let place = former.firstIndex(where: { $0.idText == id }) else {
            throw BlockError("Failed to remove snapshot from snapshot list", causedBy: .ENOENT)
        }
        let l1 = try await readL1(of: former[place])
        var entries = former
        entries.remove(at: place)
        let oldTable = tableRange
        let (table, isOurs): (ByteRange, Bool)
        do throws(Errno) {
            (table, isOurs) = try await publish(entries)
        } catch {
            throw BlockError("Failed to remove snapshot from snapshot list", causedBy: error)
        }
        adopt(entries, in: table)
        image.release(oldTable, reason: .other)
        do throws(Errno) {
            try await releaseTables(l1, of: former[place])
        } catch {
            throw BlockError("Failed to free the cluster and L1 table", causedBy: error)
        }
        await image.endCritical(isOurs)
    }

    /// Lets the header refer to another list, which has lost an entry, and sets the dirty bit at once: where the list is, and
    /// whether the bit was clear.
    private func publish(_ entries: [SnapshotTableEntry]) async throws(Errno) -> (ByteRange, Bool) {
        try await image.commit()
        let table = entries.isEmpty ? 0..<0 : try await writeTable(entries)
        do throws(Errno) {
            try await image.commit()
            let isOurs = !image.header.incompatibleFeatures.contains(.dirty)
            try await image.updateHeader { header in
                header.snapshotCount = entries.count
                header.snapshotsOffset = table.lowerBound
                if header.version >= 3 { header.incompatibleFeatures.insert(.dirty) }
            }
            return (table, isOurs)
        } catch {
            image.abandon(table)
            throw error
        }
    }

    /// Lets go of what only a snapshot needed. The active tables learn what is theirs alone now.
    private func releaseTables(_ l1: [UInt64], of entry: SnapshotTableEntry) async throws(Errno) {
        try await image.releaseReferences(below: l1)
        let offset = Int64(entry.l1TableOffset)
        image.release(offset..<offset + max(8 * Int64(entry.l1Size), 1), reason: .snapshot)
        try await image.settle()
        try await image.restoreCopiedFlags()
        image.dropL2Cache()
        try await image.commit()
    }

    /// Takes over a list that the header refers to.
    private func adopt(_ entries: [SnapshotTableEntry], in table: ByteRange) {
        state.withLock { $0 = Table(entries: entries, byteCount: Int(table.length)) }
        protectTables()
    }
}
