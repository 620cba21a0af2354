import BlockGraph
import IOLoop
import Synchronization

/// Writes old data to the target for which no guest write waits: those that are in memory where `on-cbw-error` lets the point
/// in time break.
///
/// The memory is bounded: who finds no room writes by itself. Up to 16 tasks write, the oldest data first.
final class DelayedWriter: Sendable {
    /// The most bytes in memory.
    static let capacity: Int64 = 16 << 20
    private static let maximumWorkers = 16

    private struct Job: PooledJob {
        let copy: DelayedCopy
        let writer: DelayedWriter

        func run() async { await writer.write(copy) }
    }

    private let target: BlockChild
    private let snapshot: SnapshotState
    private let gate: RequestGate
    private let room = Mutex(DelayedWriter.capacity)
    private let workers = WorkerPool<Job>(maximum: maximumWorkers)

    /// A writer to a target. Whatever it has still to write is inside the gate.
    init(target: BlockChild, snapshot: SnapshotState, gate: RequestGate) {
        self.target = target
        self.snapshot = snapshot
        self.gate = gate
    }

    /// Takes room for so many bytes; false where there is not enough.
    func reserve(_ count: Int64) -> Bool {
        room.withLock { room in
            guard room >= count else { return false }
            room -= count
            return true
        }
    }

    /// Gives room back.
    func release(_ count: Int64) { room.withLock { $0 += count } }

    /// Takes over the old data of an area for which room was reserved, in a buffer of the pool, and ends its copy for those who
    /// wait. The write begins before tasks of this loop that become ready later.
    func add(_ claimed: SnapshotState.ClaimedArea, in buffer: IOBuffer) async {
        await gate.enter()
        workers.submit(Job(copy: snapshot.delayCopy(claimed, in: buffer), writer: self), mayWait: true)
    }

    /// Lets the tasks end. Nothing is added any more.
    func close() { workers.close() }

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
            try await writeZeroes(range, flags: flags.union(.mayUnmap).subtracting(.compressed))
        } else {
            try await write(range, from: buffer, flags: flags)
        }
    }
}
