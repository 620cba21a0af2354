import BlockGraph
import BlockTestSupport
import IOLoop
import StorageTestSupport
import Testing

@Suite struct RangeTrackerTests {
    /// How many requests are in a place.
    private struct Cell {
        var shared = 0
        var exclusive = 0
    }

    @Test func `shared requests overlap each other and exclusive ones none`() {
        let tracker = RangeTracker()
        let a = tracker.tryBegin(0..<10, exclusive: false)
        let b = tracker.tryBegin(5..<15, exclusive: false)
        #expect(a != nil && b != nil)
        #expect(tracker.tryBegin(14..<16, exclusive: true) == nil)
        let c = tracker.tryBegin(15..<16, exclusive: true)
        #expect(c != nil)
        #expect(tracker.tryBegin(15..<16, exclusive: false) == nil)
        for token in [a, b, c] { if let token { tracker.end(token) } }
        #expect(tracker.isEmpty)
    }

    @Test func `ending a token twice does nothing`() {
        let tracker = RangeTracker()
        guard let token = tracker.tryBegin(0..<1, exclusive: true) else { return }
        tracker.end(token)
        tracker.end(token)
        #expect(tracker.isEmpty)
        #expect(tracker.tryBegin(0..<1, exclusive: true) != nil)
    }

    @Test func `a request waits for earlier ones only, and in their order`() async throws {
        await onLoop {
            let tracker = RangeTracker()
            let first = await tracker.begin(0..<10, exclusive: true)
            let order = Locked<[Int]>([])
            let second = Task(executorPreference: IOLoop.required) {
                let token = await tracker.begin(5..<20, exclusive: true)
                order.withLock { $0.append(2) }
                tracker.end(token)
            }
            await Task.yield()
            let third = Task(executorPreference: IOLoop.required) {
                // Not in the way of the first, but behind the second.
                let token = await tracker.begin(15..<16, exclusive: false)
                order.withLock { $0.append(3) }
                tracker.end(token)
            }
            await Task.yield()
            #expect(order.value == [])
            tracker.end(first)
            await second.value
            await third.value
            #expect(order.value == [2, 3])
            #expect(tracker.isEmpty)
        }
    }

    @Test func `waiting until free does not wait for later requests`() async throws {
        await onLoop {
            let tracker = RangeTracker()
            let first = await tracker.begin(0..<10, exclusive: false)
            let isFree = Flag()
            let waiter = Task(executorPreference: IOLoop.required) {
                await tracker.waitUntilFree(9..<11)
                isFree.set()
            }
            await Task.yield()
            let later = await tracker.begin(0..<10, exclusive: false)
            #expect(!isFree.isSet)
            tracker.end(first)
            await waiter.value
            #expect(isFree.isSet)
            tracker.end(later)
            await tracker.waitUntilFree(0..<10)
        }
    }

    /// Every cell counts who is in it; the tracker must keep exclusive requests alone.
    @Test func `exclusive requests are alone under load from several loops`() async throws {
        let tracker = RangeTracker()
        let cells = Locked<[Cell]>(Array(repeating: Cell(), count: 64))
        let clashes = Counter()
        try await withLoops(3) { loops in
            await withTaskGroup(of: Void.self) { group in
                for worker in 0..<12 {
                    group.addTask(executorPreference: loops[worker % loops.count]) {
                        var random = SeededGenerator(seed: UInt64(worker))
                        for _ in 0..<400 {
                            let start = Int.random(in: 0..<64, using: &random)
                            let end = min(64, start + Int.random(in: 1...9, using: &random))
                            let exclusive = Int.random(in: 0..<3, using: &random) == 0
                            let token = await tracker.begin(Int64(start)..<Int64(end), exclusive: exclusive)
                            cells.withLock { cells in
                                for index in start..<end {
                                    if exclusive { cells[index].exclusive += 1 } else { cells[index].shared += 1 }
                                    let cell = cells[index]
                                    if cell.exclusive > 1 || cell.exclusive == 1 && cell.shared > 0 {
                                        clashes.add()
                                    }
                                }
                            }
                            await Task.yield()
                            cells.withLock { cells in
                                for index in start..<end {
                                    if exclusive { cells[index].exclusive -= 1 } else { cells[index].shared -= 1 }
                                }
                            }
                            tracker.end(token)
                        }
                    }
                }
            }
        }
        #expect(clashes.value == 0)
        #expect(tracker.isEmpty)
    }
}
