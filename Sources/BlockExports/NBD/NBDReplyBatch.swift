import IOLoop
import NBDProtocol

/// Replies that go out with one system call: their headers side by side in one buffer, their payloads where they are.
final class NBDReplyBatch {
    /// Room for the headers of one reply, all its chunks together.
    static let headerSpace = 512

    /// The bytes to send, in order.
    private(set) var segments: [IOBuffer] = []
    /// The bytes of all segments.
    private(set) var byteCount = 0
    /// Replies in the batch.
    private(set) var count = 0
    /// What the requests of these replies cost, in bytes of memory.
    private(set) var cost = 0

    private let headers: IOBuffer
    private var used = 0
    private var owned: [IOBuffer] = []

    /// A batch with room for the headers of `capacity` replies.
    init(capacity: Int) {
        headers = BufferPool.shared.take(count: capacity * NBDReplyBatch.headerSpace)
        segments.reserveCapacity(2 * capacity)
        owned.reserveCapacity(capacity)
    }

    var isEmpty: Bool { count == 0 }

    /// Appends what `fill` writes: at most ``headerSpace`` for all headers of one reply.
    func append(_ fill: (inout OutputRawSpan) -> Void) {
        let space = headers[used...]
        var out = OutputRawSpan(buffer: space.bytes, initializedCount: 0)
        fill(&out)
        let written = out.finalize(for: space.bytes)
        used += written
        byteCount += written
        if let last = segments.last, last.base + last.count == space.base {
            segments[segments.count - 1] = IOBuffer(base: last.base, count: last.count + written)
        } else {
            segments.append(space[0..<written])
        }
    }

    /// Appends bytes that stay where they are until the batch is reset.
    func append(payload: IOBuffer) {
        segments.append(payload)
        byteCount += payload.count
    }

    /// Takes over a buffer of the pool; it goes back there when the batch is reset.
    func own(_ buffer: IOBuffer) {
        owned.append(buffer)
    }

    /// Ends one reply.
    func endReply(cost: Int) {
        count += 1
        self.cost += cost
    }

    /// Empties the batch and gives its buffers back.
    func reset() {
        for buffer in owned { BufferPool.shared.give(buffer) }
        owned.removeAll(keepingCapacity: true)
        segments.removeAll(keepingCapacity: true)
        used = 0
        count = 0
        cost = 0
        byteCount = 0
    }

    deinit {
        reset()
        BufferPool.shared.give(headers)
    }
}
