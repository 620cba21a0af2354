import BlockGraph
import IOLoop
import Synchronization

/// Requests of the same size, one after the other through an image.
struct BenchRequests: Hashable, Sendable {
    var count = 75000
    var depth = 64
    var offset: Int64 = 0
    var size: Int64 = 4096
    var step: Int64 = 4096
    var isWrite = false
    var pattern: UInt8 = 0
    /// The number of requests after which there is a flush; 0 for none.
    var flushInterval = 0
    /// Whether requests under way come back before a flush begins.
    var drains = true
}

/// Makes requests, a number of them at a time, from the calling loop.
final class BenchRun: Sendable {
    fileprivate struct State {
        var made = 0
        var offset: Int64
        var inFlight = 0
        /// Whether a flush waits for the requests under way.
        var isFlushing = false
        var error: Errno?
    }

    private let requests: BenchRequests
    private let backend: BlockBackend
    private let state: Mutex<State>
    private let changes = WaitQueue()

    /// A run that has not begun.
    init(_ requests: BenchRequests, on backend: BlockBackend) {
        self.requests = requests
        self.backend = backend
        state = Mutex(State(offset: requests.offset))
    }

    /// Makes all requests. Error: the first of a request or flush.
    @GraphActor
    func run() async throws(Errno) {
        let group = WorkerGroup()
        for _ in 0..<min(requests.depth, requests.count) {
            group.start(on: IOLoop.main) { [self] in await work() }
        }
        await group.wait()
        if let error = state.withLock({ $0.error }) { throw error }
    }

    private func work() async {
        let buffer = BufferPool.shared.take(count: Int(requests.size))
        defer { BufferPool.shared.give(buffer) }
        if requests.isWrite { buffer.fill(requests.pattern) }
        do throws(Errno) {
            while let (range, flushes) = await next() {
                defer { leave(flushes) }
                if requests.isWrite {
                    try await backend.write(range, from: buffer)
                } else {
                    try await backend.read(range, into: buffer)
                }
                guard flushes else { continue }
                if requests.drains { await changes.wait(until: { state.withLock { $0.inFlight == 1 } }) }
                try await backend.flush()
            }
        } catch {
            state.withLock { $0.error = $0.error ?? error }
        }
    }

    /// The next request, and whether a flush follows it; nil where there is none. Waits while a flush waits for others.
    private func next() async -> (range: ByteRange, flushes: Bool)? {
        let length = backend.length
        var found: (range: ByteRange, flushes: Bool)?
        await changes.wait(until: {
            state.withLock { state in
                guard !state.isFlushing else { return false }
                found = state.next(requests, length: length)
                return true
            }
        })
        return found
    }

    private func leave(_ flushes: Bool) {
        state.withLock { state in
            state.inFlight -= 1
            if flushes { state.isFlushing = false }
        }
        changes.notifyAll()
    }
}

extension BenchRun.State {
    /// Takes the next request.
    fileprivate mutating func next(
        _ requests: BenchRequests, length: Int64
    ) -> (range: ByteRange, flushes: Bool)? {
        guard made < requests.count, error == nil else { return nil }
        guard let range = ByteRange(offset: offset, count: requests.size) else {
            error = .EIO
            return nil
        }
        made += 1
        inFlight += 1
        offset += requests.step
        // All requests but perhaps the first lie within the image.
        if length > requests.size { offset %= length - requests.size } else { offset = 0 }
        let flushes = requests.flushInterval > 0 && made % requests.flushInterval == 0
        isFlushing = flushes && requests.drains
        return (range, flushes)
    }
}
