import BlockGraph
import IOLoop
import Synchronization

/// A snapshot read of several parts, which several tasks do together: the reader's own and helpers from a pool.
final class SnapshotRead: PooledJob {
    private struct State {
        var parts: SnapshotState.ReadParts
        /// The number of the next part; 0 is the first one, and 1 the first of `more`.
        var next = 0
        var helpers = 0
        var firstError: Errno?
        var waiter: UnsafeContinuation<Void, Never>?

        mutating func nextPart() -> SnapshotState.ReadPart? {
            guard next <= parts.more.count else { return nil }
            defer { next += 1 }
            return next == 0 ? parts.first : parts.more[next - 1]
        }
    }

    private let filter: CopyBeforeWriteDriver
    private let range: ByteRange
    private let buffer: IOBuffer
    private let state: Mutex<State>

    /// A read of a range, cut into parts, into its buffer.
    init(_ parts: SnapshotState.ReadParts, of range: ByteRange, into buffer: IOBuffer, by filter: CopyBeforeWriteDriver)
    {
        self.filter = filter
        self.range = range
        self.buffer = buffer
        state = Mutex(State(parts: parts))
    }

    /// Does the read, with so many helpers at most. On return nobody touches the buffer any more. An error of a part does not
    /// keep the others from being read; the first one is thrown.
    func run(helpers: Int, from pool: WorkerPool<SnapshotRead>) async throws(Errno) {
        for _ in 0..<helpers {
            state.withLock { $0.helpers += 1 }
            guard pool.submit(self, mayWait: false) else {
                state.withLock { $0.helpers -= 1 }
                break
            }
        }
        await readParts()
        await withUnsafeContinuation { continuation in
            let mustWait = state.withLock { state in
                if state.helpers > 0 { state.waiter = continuation }
                return state.helpers > 0
            }
            if !mustWait { continuation.resume() }
        }
        if let error = state.withLock({ $0.firstError }) { throw error }
    }

    /// What a helper does.
    func run() async {
        await readParts()
        let waiter = state.withLock { state -> UnsafeContinuation<Void, Never>? in
            state.helpers -= 1
            guard state.helpers == 0 else { return nil }
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume()
    }

    private func readParts() async {
        while let part = state.withLock({ $0.nextPart() }) {
            do throws(Errno) {
                try await filter.read(part, of: range, into: buffer)
            } catch {
                state.withLock { $0.firstError = $0.firstError ?? error }
            }
        }
    }
}
