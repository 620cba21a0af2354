import BlockGraph
import IOLoop
import Qcow2Format

/// A copy of everything in memory that differs from the disk, taken at one moment.
struct CommitBatch: Sendable {
    /// Bytes of the buffer and where they go.
    struct Piece: Sendable {
        let offset: Int64
        let bytes: Range<Int>
    }

    var refcounts: [Piece] = []
    var refcountTable: [Piece] = []
    var l2: [Piece] = []
    var l1: [Piece] = []
    /// What the pieces came from, to end their being written.
    fileprivate var refcountSlots: [Int32] = []
    fileprivate var l2Slots: [Int32] = []
    fileprivate var dirtyRefcountTable = DirtySectors()
    fileprivate var dirtyL1 = DirtySectors()

    let buffer: IOBuffer
    private var used = 0

    /// Copies bytes into the buffer, behind those of the last piece, which becomes longer where the bytes continue it.
    fileprivate mutating func append(
        _ bytes: UnsafeRawBufferPointer, at offset: Int64, to list: WritableKeyPath<CommitBatch, [Piece]>
    ) {
        buffer[used..<used + bytes.count].bytes.copyMemory(from: bytes)
        append(bytes.count, at: offset, to: list)
    }

    fileprivate mutating func append(_ count: Int, at offset: Int64, to list: WritableKeyPath<CommitBatch, [Piece]>) {
        let range = used..<used + count
        used += count
        if let last = self[keyPath: list].last, last.bytes.upperBound == range.lowerBound,
            last.offset + Int64(last.bytes.count) == offset
        {
            let count = self[keyPath: list].count
            self[keyPath: list][count - 1] = Piece(
                offset: last.offset, bytes: last.bytes.lowerBound..<range.upperBound)
        } else {
            self[keyPath: list].append(Piece(offset: offset, bytes: range))
        }
    }

    /// Copies runs of entries of a table that lies at `offset`.
    fileprivate mutating func append(
        _ sectors: DirtySectors, of table: [UInt64], at offset: Int64, to list: WritableKeyPath<CommitBatch, [Piece]>
    ) {
        for run in sectors.runs(count: table.count) {
            for index in run { buffer.store(table[index], at: used + 8 * (index - run.lowerBound)) }
            append(8 * run.count, at: offset + 8 * Int64(run.lowerBound), to: list)
        }
    }

    fileprivate init(byteCount: Int) { buffer = BufferPool.shared.take(count: byteCount) }

    /// Whether L1 or L2 tables are to be written.
    var hasMappings: Bool { !l1.isEmpty || !l2.isEmpty }
}

/// What of the tables a batch holds.
enum CommitScope: Sendable {
    /// Only refcount blocks.
    case refcountBlocks
    /// L1 and L2 tables, not the refcounts, which follow later.
    case mappings
    /// All.
    case everything
}

extension Qcow2Tables {
    /// Copies what differs from the disk; it counts as being written until `finish`.
    mutating func takeBatch(_ scope: CommitScope) -> CommitBatch {
        let takesRefcounts = scope != .mappings
        let takesTable = scope == .everything
        let takesMappings = scope != .refcountBlocks
        var count = 0
        if takesRefcounts { count += refcounts.dirtyByteCount }
        if takesTable { count += dirtyRefcountTable.byteCount }
        if takesMappings { count += l2.dirtyByteCount + dirtyL1.byteCount }
        var batch = CommitBatch(byteCount: count)
        let layout = layout
        if takesRefcounts {
            let table = refcountTable
            batch.refcountSlots = refcounts.takeDirty { block, start, bytes in
                batch.append(bytes, at: Qcow2Layout.blockOffset(table[block]) + Int64(start), to: \.refcounts)
            }
        }
        if takesTable {
            batch.dirtyRefcountTable = dirtyRefcountTable.take()
            batch.append(batch.dirtyRefcountTable, of: refcountTable, at: refcountTableOffset, to: \.refcountTable)
        }
        if takesMappings {
            let l1 = l1
            let partSize = l2.partSize
            batch.l2Slots = l2.takeDirty { part, start, bytes in
                let table = Qcow2Layout.l1Offset(l1[part / layout.partsInTable])
                batch.append(bytes, at: table + Int64(part % layout.partsInTable * partSize + start), to: \.l2)
            }
            batch.dirtyL1 = dirtyL1.take()
            batch.append(batch.dirtyL1, of: l1, at: l1Offset, to: \.l1)
        }
        return batch
    }

    /// The writing of a batch has ended: where it failed, its pieces differ from the disk again.
    mutating func finish(_ batch: CommitBatch, failed: Bool) {
        refcounts.finishWriting(batch.refcountSlots, failed: failed)
        l2.finishWriting(batch.l2Slots, failed: failed)
        if failed {
            dirtyRefcountTable.formUnion(batch.dirtyRefcountTable)
            dirtyL1.formUnion(batch.dirtyL1)
        }
    }
}

extension IOBuffer {
    /// Stores a big-endian number.
    func store(_ value: UInt64, at offset: Int) {
        base.storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt64.self)
    }

    /// The big-endian number at an offset.
    func word(at offset: Int) -> UInt64 {
        UInt64(bigEndian: base.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }
}
