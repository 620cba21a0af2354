import BlockGraph
import BlockTestSupport
import IOLoop
import StorageTestSupport
import Testing

@Suite struct RequestGateTests {
    @Test func `an empty gate is empty at once`() async {
        let gate = RequestGate()
        await gate.waitUntilEmpty()
        #expect(gate.countInside == 0)
    }

    @Test func `a closed gate holds newcomers back until it was opened as often as closed`() async throws {
        await onLoop {
            let gate = RequestGate()
            await gate.enter()
            gate.close()
            gate.close()
            #expect(!gate.tryEnter())
            let isIn = Flag()
            let newcomer = Task(executorPreference: IOLoop.required) {
                await gate.enter()
                isIn.set()
                gate.leave()
            }
            await Task.yield()
            #expect(gate.countInside == 1)
            gate.leave()
            await gate.waitUntilEmpty()
            gate.open()
            await Task.yield()
            #expect(!isIn.isSet)
            gate.open()
            await newcomer.value
            #expect(isIn.isSet)
            await gate.waitUntilEmpty()
        }
    }

    @Test func `several wait for the last to leave`() async throws {
        await onLoop {
            let gate = RequestGate()
            await gate.enter()
            await gate.enter()
            let waiters = (0..<4).map { _ in
                Task(executorPreference: IOLoop.required) { await gate.waitUntilEmpty() }
            }
            await Task.yield()
            gate.leave()
            #expect(gate.countInside == 1)
            gate.leave()
            for waiter in waiters { await waiter.value }
        }
    }

    @Test func `nobody is inside of a drained gate, under load from several loops`() async throws {
        let gate = RequestGate()
        let inside = Counter()
        let isOver = Flag()
        let passed = Counter()
        try await withLoops(3) { loops in
            await withTaskGroup(of: Void.self) { group in
                for worker in 0..<12 {
                    group.addTask(executorPreference: loops[worker % loops.count]) {
                        while !isOver.isSet {
                            await gate.enter()
                            inside.add()
                            await Task.yield()
                            inside.add(-1)
                            passed.add()
                            gate.leave()
                            await Task.yield()
                        }
                    }
                }
                group.addTask(executorPreference: loops[0]) {
                    for _ in 0..<300 {
                        gate.close()
                        await gate.waitUntilEmpty()
                        for _ in 0..<3 {
                            #expect(inside.value == 0)
                            await Task.yield()
                        }
                        gate.open()
                        await Task.yield()
                    }
                    isOver.set()
                }
            }
        }
        #expect(gate.countInside == 0)
        #expect(passed.value > 0)
    }
}
