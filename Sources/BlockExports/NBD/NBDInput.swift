import IOLoop

/// Bytes received ahead, in chunks of memory that writes borrow rather than copy.
///
/// Bytes are received into the current chunk. Where a chunk is full and requests still use parts of it, another takes its place.
struct NBDInput: ~Copyable {
    /// Bytes that are borrowed until `giveBack`.
    struct Loan {
        let buffer: IOBuffer
        fileprivate let chunk: Int
    }

    private struct Chunk {
        /// Nil while the memory is given back.
        var buffer: IOBuffer?
        var loans = 0
    }

    private let chunkSize: Int
    private var chunks: [Chunk] = []
    private var current = 0
    private var memory: IOBuffer
    private var start = 0
    private var end = 0

    /// No bytes, and one chunk of so many.
    init(chunkSize: Int) {
        self.chunkSize = chunkSize
        memory = BufferPool.shared.take(count: chunkSize)
        chunks.append(Chunk(buffer: memory))
    }

    deinit {
        for case let buffer? in chunks.map(\.buffer) { BufferPool.shared.give(buffer) }
    }

    /// The number of bytes that are there.
    var count: Int { end - start }
    /// The bytes that are there, until they are skipped or room is made.
    var bytes: IOBuffer { memory[start..<end] }

    /// Forgets the first bytes.
    mutating func skip(_ count: Int) {
        precondition(count <= self.count, "more bytes skipped than received")
        start += count
    }

    /// Lends the first bytes, which are skipped.
    mutating func borrow(_ count: Int) -> Loan {
        precondition(count <= self.count, "more bytes lent than received")
        defer { start += count }
        chunks[current].loans += 1
        return Loan(buffer: memory[start..<start + count], chunk: current)
    }

    /// Takes back what was lent.
    mutating func giveBack(_ loan: Loan) {
        chunks[loan.chunk].loans -= 1
        guard chunks[loan.chunk].loans == 0, loan.chunk != current, let buffer = chunks[loan.chunk].buffer else {
            return
        }
        chunks[loan.chunk].buffer = nil
        BufferPool.shared.give(buffer)
    }

    /// Memory to receive into, behind the bytes that are there: `needed` bytes together with these, or more.
    mutating func makeRoom(for needed: Int) -> IOBuffer {
        precondition(needed <= chunkSize, "more bytes to be received together than a chunk has")
        if chunks[current].loans == 0 {
            if start > 0, start == end || chunkSize - start < max(needed, chunkSize / 2) { move(to: current) }
        } else if chunkSize - start < max(needed, chunkSize / 2) {
            move(to: chunks.firstIndex { $0.buffer == nil } ?? chunks.count)
        }
        return memory[end...]
    }

    /// Counts bytes that were received into the room made last.
    mutating func didReceive(_ count: Int) {
        precondition(count <= chunkSize - end, "more bytes received than there was room for")
        end += count
    }

    /// Moves the bytes to the start of a chunk, which is the current one then.
    private mutating func move(to chunk: Int) {
        let rest = bytes
        if chunk != current {
            memory = BufferPool.shared.take(count: chunkSize)
            if chunk == chunks.count { chunks.append(Chunk()) }
            chunks[chunk].buffer = memory
            current = chunk
        }
        memory[0..<rest.count].copy(from: rest)
        start = 0
        end = rest.count
    }
}
