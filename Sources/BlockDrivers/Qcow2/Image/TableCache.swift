import Glibc

/// Parts of tables in a bounded number of slots of one size, with the bytes that they have on disk.
///
/// A part that differs from the disk stays until it was written: only clean ones make room for others. Which part goes is
/// decided by the clock algorithm. Not safe against several threads: it lies behind its owner's mutex.
struct TableCache: ~Copyable {
    /// What a slot holds.
    enum Content {
        case nothing, loading, ready
    }

    struct Slot {
        /// The number of the part, counted in parts of the cache's size.
        var key = -1
        var content = Content.nothing
        /// The bytes; nil while the slot's memory is given back.
        var memory: UnsafeMutableRawPointer?
        /// One bit for each granule that differs from the disk and is not on its way there.
        var dirty: UInt64 = 0
        /// One bit for each granule that a commit is writing.
        var writing: UInt64 = 0
        /// Used since the clock's hand passed.
        var wasUsed = false
        /// Used since unused parts were dropped last.
        var wasUsedLately = false
        fileprivate var next: Int32 = -1
    }

    /// How the search for a slot ended.
    enum Search {
        /// The slot holds nothing, is marked as loading, and belongs to the caller.
        case found(Int)
        /// All parts differ from the disk: they must be written first.
        case allDirty
        /// All slots are being loaded or written: one becomes free when that ends.
        case allBusy
    }

    /// The bytes of a part.
    let partSize: Int
    /// The bytes that one dirty bit stands for.
    let granule: Int
    /// The most parts.
    var capacity: Int
    private(set) var slots: [Slot] = []
    /// The slots with dirty granules, in the order in which they became so.
    private(set) var dirtySlots: [Int32] = []
    private var unusedSlots: [Int32] = []
    private var buckets = [Int32](repeating: -1, count: 64)
    private var hand = 0

    /// A cache of at most `capacity` (1 or more) parts of `partSize` bytes, a power of two of at least 512. What is written
    /// back is at least `smallestWrite` bytes long, also a power of two.
    init(partSize: Int, capacity: Int, smallestWrite: Int) {
        self.partSize = partSize
        self.capacity = capacity
        granule = min(partSize, max(512, smallestWrite, partSize / 64))
    }

    deinit {
        for slot in slots { free(slot.memory) }
    }

    // MARK: Finding

    private func bucket(_ key: Int) -> Int {
        Int(truncatingIfNeeded: (UInt(bitPattern: key) &* 0x9E37_79B9_7F4A_7C15) >> 32) & (buckets.count - 1)
    }

    /// The slot of a part that is there or being loaded.
    func find(_ key: Int) -> Int? {
        var index = buckets[bucket(key)]
        while index >= 0 {
            if slots[Int(index)].key == key { return Int(index) }
            index = slots[Int(index)].next
        }
        return nil
    }

    /// The slot of a part that is there, which counts as used now.
    mutating func use(_ key: Int) -> Int? {
        guard let index = find(key), slots[index].content == .ready else { return nil }
        slots[index].wasUsed = true
        slots[index].wasUsedLately = true
        return index
    }

    /// Whether a part could be taken in.
    var hasRoom: Bool {
        !unusedSlots.isEmpty || slots.count < capacity
            || slots.contains { $0.content == .ready && $0.dirty | $0.writing == 0 }
    }

    /// The bytes of a slot that holds something or is being loaded.
    func bytes(_ index: Int) -> UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(start: slots[index].memory, count: partSize)
    }

    // MARK: Taking and giving back

    /// Takes a slot for a part that is not there, to be loaded by the caller.
    mutating func take(for key: Int) -> Search {
        guard let index = unusedSlots.popLast().map(Int.init) ?? newSlot() ?? victim() else {
            return slots.contains { $0.dirty != 0 } ? .allDirty : .allBusy
        }
        if slots[index].memory == nil { slots[index].memory = Self.allocate(partSize) }
        slots[index].key = key
        slots[index].content = .loading
        slots[index].wasUsed = true
        slots[index].wasUsedLately = true
        link(index)
        return .found(index)
    }

    /// The bytes of a slot that was taken are there.
    mutating func finishLoading(_ index: Int) { slots[index].content = .ready }

    /// Forgets a part, whatever its state but being written.
    mutating func drop(_ index: Int) {
        unlink(index)
        slots[index].key = -1
        slots[index].content = .nothing
        if slots[index].dirty != 0 {
            slots[index].dirty = 0
            dirtySlots.removeAll { $0 == Int32(index) }
        }
        unusedSlots.append(Int32(index))
    }

    /// Gives back the memory of the parts that were not used since the last call.
    mutating func dropUnused() {
        for index in slots.indices {
            let slot = slots[index]
            slots[index].wasUsedLately = false
            guard slot.dirty == 0, slot.writing == 0, slot.content != .loading, !slot.wasUsedLately else { continue }
            if slot.content == .ready { drop(index) }
            free(slot.memory)
            slots[index].memory = nil
        }
    }

    private mutating func newSlot() -> Int? {
        guard slots.count < capacity else { return nil }
        slots.append(Slot())
        if slots.count > buckets.count { rehash() }
        return slots.count - 1
    }

    /// A clean part that was not used lately, taken out.
    private mutating func victim() -> Int? {
        for _ in 0..<2 * slots.count {
            let index = hand
            hand = hand + 1 == slots.count ? 0 : hand + 1
            let slot = slots[index]
            guard slot.content == .ready, slot.dirty == 0, slot.writing == 0 else { continue }
            if !slot.wasUsed {
                unlink(index)
                return index
            }
            slots[index].wasUsed = false
        }
        return nil
    }

    private static func allocate(_ count: Int) -> UnsafeMutableRawPointer {
        var memory: UnsafeMutableRawPointer?
        guard posix_memalign(&memory, 4096, count) == 0, let memory else {
            fatalError("out of memory: a part of a table")
        }
        return memory
    }

    private mutating func link(_ index: Int) {
        let bucket = bucket(slots[index].key)
        slots[index].next = buckets[bucket]
        buckets[bucket] = Int32(index)
    }

    private mutating func unlink(_ index: Int) {
        let bucket = bucket(slots[index].key)
        if buckets[bucket] == Int32(index) {
            buckets[bucket] = slots[index].next
            return
        }
        var place = Int(buckets[bucket])
        while place >= 0 {
            if slots[place].next == Int32(index) {
                slots[place].next = slots[index].next
                return
            }
            place = Int(slots[place].next)
        }
    }

    private mutating func rehash() {
        buckets = [Int32](repeating: -1, count: buckets.count * 2)
        for index in slots.indices where slots[index].key >= 0 { link(index) }
    }
}

// MARK: Changes and writing back

extension TableCache {
    /// The dirty bits of a range of bytes of a part.
    func granules(_ range: Range<Int>) -> UInt64 {
        guard !range.isEmpty else { return 0 }
        let first = range.lowerBound / granule
        let last = (range.upperBound - 1) / granule
        return (~0 >> UInt64(63 - last + first)) << UInt64(first)
    }

    /// Notes that granules of a part differ from the disk.
    mutating func markDirty(_ index: Int, _ granules: UInt64) {
        guard granules != 0 else { return }
        if slots[index].dirty == 0 { dirtySlots.append(Int32(index)) }
        slots[index].dirty |= granules
    }

    /// The number of bytes that differ from the disk.
    var dirtyByteCount: Int { dirtySlots.reduce(0) { $0 + slots[Int($1)].dirty.nonzeroBitCount * granule } }

    /// Whether a part differs from the disk or is being written.
    var hasUnwritten: Bool { !dirtySlots.isEmpty || slots.contains { $0.writing != 0 } }

    /// Calls the body with each run of dirty granules, part by part, and counts them as being written from now on.
    mutating func takeDirty(_ body: (_ key: Int, _ offset: Int, _ bytes: UnsafeRawBufferPointer) -> Void) -> [Int32] {
        let taken = dirtySlots
        dirtySlots = []
        for index in taken.map(Int.init) {
            var rest = slots[index].dirty
            slots[index].writing = rest
            slots[index].dirty = 0
            while rest != 0 {
                let first = rest.trailingZeroBitCount
                let count = (~(rest >> UInt64(first))).trailingZeroBitCount
                rest &= count + first >= 64 ? 0 : ~0 << UInt64(first + count)
                let range = first * granule..<(first + count) * granule
                body(slots[index].key, range.lowerBound, UnsafeRawBufferPointer(rebasing: bytes(index)[range]))
            }
        }
        return taken
    }

    /// Ends the writing of parts: they are as on disk, or differ again where it failed.
    mutating func finishWriting(_ indices: [Int32], failed: Bool) {
        for index in indices.map(Int.init) {
            let written = slots[index].writing
            slots[index].writing = 0
            if failed { markDirty(index, written) }
        }
    }
}
