/// A first-in-first-out queue in a ring of memory that grows by doubling and never shrinks: in the steady state
/// neither end allocates.
struct FIFO<Element>: ~Copyable {
    private var storage: UnsafeMutablePointer<Element>
    private var capacity: Int
    private var head = 0
    private(set) var count = 0

    init(minimumCapacity: Int = 8) {
        capacity = 8
        while capacity < minimumCapacity { capacity *= 2 }
        storage = .allocate(capacity: capacity)
    }

    deinit {
        for index in 0..<count { (storage + ((head + index) & (capacity - 1))).deinitialize(count: 1) }
        storage.deallocate()
    }

    var isEmpty: Bool { count == 0 }

    mutating func append(_ element: Element) {
        if count == capacity { grow() }
        (storage + ((head + count) & (capacity - 1))).initialize(to: element)
        count += 1
    }

    mutating func popFirst() -> Element? {
        guard count > 0 else { return nil }
        let element = (storage + head).move()
        head = (head + 1) & (capacity - 1)
        count -= 1
        return element
    }

    /// Removes the first element that `matches`, keeping the order of the others: linear.
    mutating func removeFirst(where matches: (borrowing Element) -> Bool) -> Element? {
        for index in 0..<count where matches(self[index]) {
            let removed = (storage + ((head + index) & (capacity - 1))).move()
            for later in (index + 1)..<max(count, index + 1) {
                let moved = (storage + ((head + later) & (capacity - 1))).move()
                (storage + ((head + later - 1) & (capacity - 1))).initialize(to: moved)
            }
            count -= 1
            return removed
        }
        return nil
    }

    private subscript(index: Int) -> Element { storage[(head + index) & (capacity - 1)] }

    private mutating func grow() {
        let larger = UnsafeMutablePointer<Element>.allocate(capacity: capacity * 2)
        let untilEnd = capacity - head
        larger.moveInitialize(from: storage + head, count: untilEnd)
        (larger + untilEnd).moveInitialize(from: storage, count: head)
        storage.deallocate()
        storage = larger
        head = 0
        capacity *= 2
    }
}
