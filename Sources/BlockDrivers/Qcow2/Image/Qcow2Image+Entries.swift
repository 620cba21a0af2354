import BlockGraph
import IOLoop
import Qcow2Format
import Synchronization

/// What stands between a request and the entries of a guest offset.
private enum Obstacle {
    /// None: the body has run.
    case none
    /// The part is not in memory.
    case notLoaded(part: Int)
    /// There is no L2 table, or it is shared.
    case noOwnTable(part: Int)
    /// The entry of the L1 table makes no sense.
    case corrupt(index: Int, offset: Int64)
}

extension Qcow2Image {
    /// Calls the body with the part of an L2 table that describes the guest offset, or nil where there is no L2 table.
    ///
    /// The body is short and does not keep the slice. Where the part is in memory, nothing is suspended. Errors: EIO where
    /// the L1 table makes no sense, which is reported; ENOMEDIUM after a fatal corruption; those of the file and the body.
    public func withEntries<R>(
        at guestOffset: Int64, _ body: (L2Slice?) throws(Errno) -> R
    ) async throws(Errno) -> R {
        while true {
            try checkUsable()
            var result: R?
            let obstacle = try tables.withLock { (tables) throws(Errno) -> Obstacle in
                let (place, obstacle) = tables.locate(guestOffset)
                switch (place, obstacle) {
                case (let index?, _): result = try body(tables.slice(index))
                case (nil, .noOwnTable): result = try body(nil)
                case (nil, _): break
                }
                return obstacle
            }
            if let result { return result }
            try await overcome(obstacle)
        }
    }

    /// Calls the body with the part of an L2 table that describes the guest offset, to change entries. An L2 table that is
    /// not there or is shared with a snapshot is allocated first.
    ///
    /// The guest offset lies below the end of the L1 table. The changes are in memory on return; `commit()` writes them.
    /// An entry may be set only when its clusters are allocated and their data was written. Changes stay when the body
    /// throws. Errors: as `withEntries`; ENOSPC and others from allocation.
    public func changeEntries<R>(
        at guestOffset: Int64, _ body: (inout L2Slice) throws(Errno) -> R
    ) async throws(Errno) -> R {
        while true {
            try checkUsable()
            var result: R?
            let obstacle = try tables.withLock { (tables) throws(Errno) -> Obstacle in
                let (place, obstacle) = tables.locate(guestOffset, toChange: true)
                guard let place else { return obstacle }
                var slice = tables.slice(place)
                defer { tables.noteChange(slice, in: place) }
                result = try body(&slice)
                return .none
            }
            if let result { return result }
            try await overcome(obstacle)
        }
    }

    /// The guest bytes that are described by one slice with the guest offset: what one call of `withEntries` can tell of.
    public func sliceRange(of guestOffset: Int64) -> ByteRange {
        let start = (guestOffset >> Int64(layout.partShift)) << Int64(layout.partShift)
        return start..<start + (1 << Int64(layout.partShift))
    }

    private func overcome(_ obstacle: Obstacle) async throws(Errno) {
        switch obstacle {
        case .none: break
        case .notLoaded(let part): try await loadL2(part)
        case .noOwnTable(let part): try await prepareL2Table(forPart: part)
        case .corrupt(let index, let offset):
            throw await reportUnalignedL2Table(index, offset)
        }
    }

    /// Brings a part of an L2 table into memory, unless somebody else does.
    private func loadL2(_ part: Int) async throws(Errno) {
        guard let slot = try await takeSlot(.l2, for: part) else { return }
        let (place, memory) = tables.withLock { tables in
            (tables.hostOffset(ofL2Part: part), IOBuffer(tables.l2.bytes(slot)))
        }
        await fire(.l2Load)
        try await fill(.l2, slot, memory, from: place)
    }
}

extension Qcow2Image {
    /// Reads a part of a table into a slot that was taken for it.
    func fill(_ kind: Qcow2CacheKind, _ slot: Int, _ memory: IOBuffer, from offset: Int64) async throws(Errno) {
        defer { slotQueue.notifyAll() }
        do throws(Errno) {
            // A broken table may name an offset that no file has.
            guard let range = ByteRange(offset: offset, count: Int64(memory.count)) else { throw .EIO }
            try await file.node.read(range, into: memory)
        } catch {
            tables.withLock { $0.withCache(kind) { $0.drop(slot) } }
            throw error
        }
        tables.withLock { $0.withCache(kind) { $0.finishLoading(slot) } }
    }

    /// A slot for a part of a table, marked as loading. Nil, after waiting for it, where somebody else was loading the part
    /// or it is there: the caller looks again.
    func takeSlot(_ kind: Qcow2CacheKind, for key: Int) async throws(Errno) -> Int? {
        while true {
            let search = tables.withLock { tables in
                tables.withCache(kind) { cache in cache.find(key) == nil ? cache.take(for: key) : nil }
            }
            switch search {
            case .found(let slot): return slot
            case .allDirty: try await writeBack(kind)
            case .allBusy: await slotQueue.wait(unless: { hasRoom(kind) })
            case nil:
                await slotQueue.wait(unless: { !isLoading(kind, key) })
                return nil
            }
        }
    }

    /// Makes parts of a cache clean.
    private func writeBack(_ kind: Qcow2CacheKind) async throws(Errno) {
        switch kind {
        case .l2: try await commit()
        case .refcounts: try await writeBackRefcounts()
        }
    }

    private func hasRoom(_ kind: Qcow2CacheKind) -> Bool {
        tables.withLock { $0.withCache(kind) { $0.hasRoom } }
    }

    private func isLoading(_ kind: Qcow2CacheKind, _ key: Int) -> Bool {
        tables.withLock {
            $0.withCache(kind) { cache in cache.find(key).map { cache.slots[$0].content == .loading } ?? false }
        }
    }
}

extension Qcow2Tables {
    /// The slot of the part for a guest offset, or why there is none.
    fileprivate mutating func locate(_ guestOffset: Int64, toChange: Bool = false) -> (Int?, Obstacle) {
        let part = Int(guestOffset >> Int64(layout.partShift))
        let index = part / layout.partsInTable
        guard index < l1.count else { return (nil, .noOwnTable(part: part)) }
        let entry = l1[index]
        if toChange, entry & Qcow2Layout.copied == 0 { return (nil, .noOwnTable(part: part)) }
        if let slot = l2.use(part) { return (slot, .none) }
        let offset = Qcow2Layout.l1Offset(entry)
        guard offset != 0 else { return (nil, .noOwnTable(part: part)) }
        guard offset & (layout.clusterSize - 1) == 0 else { return (nil, .corrupt(index: index, offset: offset)) }
        return (nil, .notLoaded(part: part))
    }

    /// Where a part of an L2 table lies.
    func hostOffset(ofL2Part part: Int) -> Int64 {
        Qcow2Layout.l1Offset(l1[part / layout.partsInTable]) + Int64(part % layout.partsInTable * l2.partSize)
    }

    fileprivate func slice(_ slot: Int) -> L2Slice {
        let part = l2.slots[slot].key
        return L2Slice(
            guestOffset: Int64(part) << Int64(layout.partShift), hostOffset: hostOffset(ofL2Part: part),
            memory: l2.bytes(slot), layout: layout)
    }

    fileprivate mutating func noteChange(_ slice: L2Slice, in slot: Int) {
        guard let changed = slice.changed else { return }
        let size = layout.entrySize
        l2.markDirty(slot, l2.granules(changed.lowerBound * size..<changed.upperBound * size))
    }
}

/// A number in hexadecimal digits.
func hex(_ value: some BinaryInteger) -> String { String(value, radix: 16) }

/// A number as QEMU prints indices: hexadecimal with a prefix, but for 0.
func prefixedHex(_ value: some BinaryInteger) -> String { value == 0 ? "0" : "0x\(hex(value))" }
