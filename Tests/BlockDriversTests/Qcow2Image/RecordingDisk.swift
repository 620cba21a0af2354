import BlockGraph
import IOLoop
import Synchronization

/// A disk in memory that grows, keeps a record of what would survive a crash, and fails one request of the test's choice.
final class RecordingDisk: BlockDriver {
    /// What happened to the disk, in the order in which it ended.
    enum Event: Sendable {
        case write(offset: Int, bytes: [UInt8])
        /// All writes before the index in the record are durable.
        case flush(upTo: Int)
        /// The test's own mark.
        case mark(Int)
    }

    private struct State {
        var bytes: [UInt8]
        var events: [Event] = []
        var requestCount = 0
        var failing: Range<Int> = 0..<0
        var error = Errno.EIO
        var limit = Int.max
        var discards: [ByteRange] = []
    }

    private let state: Mutex<State>
    /// Whether requests give way to others.
    private let yields: Bool
    let limits = BlockLimits()

    init(_ bytes: [UInt8], yields: Bool = false) {
        state = Mutex(State(bytes: bytes))
        self.yields = yields
    }

    var driverName: String { "recording" }
    var isProtocol: Bool { true }
    var length: Int64 { state.withLock { Int64($0.bytes.count) } }

    /// The bytes as every request sees them.
    var bytes: [UInt8] { state.withLock { $0.bytes } }
    var events: [Event] { state.withLock { $0.events } }
    var discards: [ByteRange] { state.withLock { $0.discards } }
    /// The number of reads, writes and flushes so far.
    var requestCount: Int { state.withLock { $0.requestCount } }

    /// Adds a mark to the record.
    func mark(_ number: Int) { state.withLock { $0.events.append(.mark(number)) } }

    /// Lets the requests with the numbers fail.
    func fail(_ requests: Range<Int>, with error: Errno = .EIO) {
        state.withLock { state in
            state.failing = requests
            state.error = error
        }
    }

    /// Lets writes beyond the size fail with ENOSPC.
    func limit(toSize size: Int) { state.withLock { $0.limit = size } }

    private func begin(_ end: Int = 0) async throws(Errno) {
        if yields { await Task.yield() }
        let error = state.withLock { state -> Errno? in
            defer { state.requestCount += 1 }
            if end > state.limit { return .ENOSPC }
            return state.failing.contains(state.requestCount) ? state.error : nil
        }
        if let error { throw error }
    }

    func read(_ range: ByteRange, into buffer: IOBuffer) async throws(Errno) {
        try await begin()
        state.withLock { state in
            let start = min(Int(range.lowerBound), state.bytes.count)
            let end = min(Int(range.upperBound), state.bytes.count)
            buffer.bytes.copyBytes(from: state.bytes[start..<end])
            buffer[end - start..<buffer.count].fill(0)
        }
    }

    func write(_ range: ByteRange, from buffer: IOBuffer, flags: WriteFlags) async throws(Errno) {
        try await begin(Int(range.upperBound))
        let bytes = Array(buffer.bytes)
        state.withLock { state in
            state.bytes.overwrite(Int(range.lowerBound), bytes)
            state.events.append(.write(offset: Int(range.lowerBound), bytes: bytes))
        }
    }

    func discard(_ range: ByteRange) async throws(Errno) {
        let bytes = [UInt8](repeating: 0xDD, count: Int(range.length))
        state.withLock { state in
            state.discards.append(range)
            state.bytes.overwrite(Int(range.lowerBound), bytes)
            state.events.append(.write(offset: Int(range.lowerBound), bytes: bytes))
        }
    }

    func flush() async throws(Errno) {
        let index = state.withLock { $0.events.count }
        try await begin()
        state.withLock { $0.events.append(.flush(upTo: index)) }
    }

    func blockStatus(_ range: ByteRange, precision: BlockStatusPrecision) async throws(Errno) -> BlockStatus {
        BlockStatus(length: range.length, isData: true, isAllocated: true, hostOffset: range.lowerBound)
    }

    @GraphActor func filename(of node: BlockNode) -> String { "recording" }
}

extension [UInt8] {
    /// Writes bytes at an offset, which may be beyond the end.
    mutating func overwrite(_ offset: Int, _ bytes: [UInt8]) {
        if offset + bytes.count > count { self += [UInt8](repeating: 0, count: offset + bytes.count - count) }
        withUnsafeMutableBytes { memory in
            UnsafeMutableRawBufferPointer(rebasing: memory[offset..<offset + bytes.count]).copyBytes(from: bytes)
        }
    }
}

extension [RecordingDisk.Event] {
    /// The bytes of a disk that began with `start` and crashed after the first `cut` events: what was not flushed is there
    /// or not, by sectors, in any order.
    func crashed(after cut: Int, from start: [UInt8], using random: inout some RandomNumberGenerator) -> [UInt8] {
        var durable = 0
        for case .flush(let end) in self[..<cut] { durable = Swift.max(durable, end) }
        var bytes = start
        for case .write(let offset, let data) in self[..<durable] { bytes.overwrite(offset, data) }
        var sectors: [(Int, [UInt8])] = []
        let keeps = Int.random(in: 0...4, using: &random)
        for case .write(let offset, let data) in self[durable..<cut] {
            var place = 0
            while place < data.count {
                let end = Swift.min(data.count, (offset + place) / 512 * 512 + 512 - offset)
                if Int.random(in: 0..<4, using: &random) < keeps {
                    sectors.append((offset + place, [UInt8](data[place..<end])))
                }
                place = end
            }
        }
        // Writes of the same sector keep their order; different sectors have none.
        for (offset, data) in sectors { bytes.overwrite(offset, data) }
        return bytes
    }
}
