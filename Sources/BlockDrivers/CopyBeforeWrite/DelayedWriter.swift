import BlockGraph
import IOLoop
import Synchronization

/// Writes old data to the target for which no guest write waits: those that are in memory where `on-cbw-error` lets the point
/// in time break.
///
/// The memory is bounded: who finds no room writes by itself. Up to 16 tasks write. They are reused; each takes the oldest data
/// that wait, and rests when there are none.
final class DelayedWriter: Sendable {
    /// The most bytes in memory.
    static let capacity: Int64 = 16 << 20
    private static let maximumWorkers = 16

    private struct Worker {
        let loop: IOLoop
        let continuation: UnsafeContinuation<DelayedCopy?, Never>
    }

    private struct State {
        var room = DelayedWriter.capacity
        var queue: [DelayedCopy] = []
        var resting: [Worker] = []
        var workers = 0
        var isClosed = false
    }

    private enum Action {
        case none
        case start
        case wake(Worker)
    }

    private let target: BlockChild
    private let snapshot: SnapshotState
    private let gate: RequestGate
    private let state = Mutex(State())

    /// A writer to a target. Whatever it has still to write is inside the gate.
    init(target: BlockChild, snapshot: SnapshotState, gate: RequestGate) {
        self.target = target
        self.snapshot = snapshot
        self.gate = gate
    }

    /// Takes room for so many bytes; false where there is not enough.
    func reserve(_ count: Int64) -> Bool {
        state.withLock { state in
            guard state.room >= count else { return false }
            state.room -= count
            return true
        }
    }

    /// Gives room back.
    func release(_ count: Int64) { state.withLock { $0.room += count } }

    /// Takes over the old data of an area for which room was reserved, in a buffer of the pool, and ends its copy for those who
    /// wait. The write begins before tasks of this loop that become ready later.
    func add(_ claimed: SnapshotState.ClaimedArea, in buffer: IOBuffer) async {
        await gate.enter()
        let copy = snapshot.delayCopy(claimed, in: buffer)
        let loop = IOLoop.current ?? .main
        let action = state.withLock { state -> Action in
            if let index = state.resting.lastIndex(where: { $0.loop === loop }) {
                return .wake(state.resting.remove(at: index))
            }
            if state.workers == Self.maximumWorkers, let other = state.resting.popLast() { return .wake(other) }
            state.queue.append(copy)
            guard state.workers < Self.maximumWorkers else { return .none }
            state.workers += 1
            return .start
        }
        switch action {
        case .none: break
        case .start: Task(executorPreference: loop) { await self.work(on: loop) }
        case .wake(let worker): worker.continuation.resume(returning: copy)
        }
    }

    /// Lets the resting tasks end. Nothing is added any more.
    func close() {
        let resting = state.withLock { state in
            state.isClosed = true
            defer { state.resting = [] }
            return state.resting
        }
        for worker in resting { worker.continuation.resume(returning: nil) }
    }

    private func work(on loop: IOLoop) async {
        while let copy = await next(on: loop) {
            await write(copy)
        }
    }

    /// The oldest data that wait, when there are some; nil when there are to be none any more.
    private func next(on loop: IOLoop) async -> DelayedCopy? {
        await withUnsafeContinuation { continuation in
            let known = state.withLock { state -> DelayedCopy?? in
                if !state.queue.isEmpty { return .some(state.queue.removeFirst()) }
                if state.isClosed { return .some(nil) }
                state.resting.append(Worker(loop: loop, continuation: continuation))
                return nil
            }
            if let known { continuation.resume(returning: known) }
        }
    }

    private func write(_ copy: DelayedCopy) async {
        var failure: Errno?
        do throws(Errno) {
            var buffer = copy.buffer
            buffer.urgency = .background
            try await target.node.writeOldData(copy.area, from: buffer, flags: [])
        } catch {
            failure = error
        }
        snapshot.endDelay(copy, failure)
        release(copy.area.length)
        gate.leave()
    }
}

extension BlockNode {
    /// Writes old data; zeroes become holes.
    func writeOldData(_ range: ByteRange, from buffer: IOBuffer, flags: WriteFlags) async throws(Errno) {
        if buffer.isZero {
            try await writeZeroes(
                range, flags: flags.union(.mayUnmap).subtracting(.compressed))
        } else {
            try await write(range, from: buffer, flags: flags)
        }
    }
}
