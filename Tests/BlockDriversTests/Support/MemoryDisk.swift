import BlockGraph
import IOLoop
import Synchronization

/// A driver for tests: a disk in memory that grows, with a record of the requests that it got.
final class MemoryDisk: BlockDriver {
    struct Request: Equatable, Sendable, CustomStringConvertible {
        enum Kind: String, Sendable { case read, write, zero, discard, flush }
        let kind: Kind
        let range: ByteRange

        var description: String { "\(kind.rawValue) \(range)" }
    }

    private struct State {
        var bytes: [UInt8]
        var requests: [Request] = []
        var failing: Errno?
    }

    private let state: Mutex<State>
    let limits: BlockLimits

    init(_ bytes: [UInt8], limits: BlockLimits = BlockLimits()) {
        state = Mutex(State(bytes: bytes))
        self.limits = limits
    }

    convenience init(length: Int, limits: BlockLimits = BlockLimits()) {
        self.init([UInt8](repeating: 0, count: length), limits: limits)
    }

    var driverName: String { "memory" }
    var isProtocol: Bool { true }
    var length: Int64 { state.withLock { Int64($0.bytes.count) } }
    var supportedZeroFlags: WriteFlags { [.mayUnmap, .noFallback] }

    /// The bytes of the disk.
    var bytes: [UInt8] { state.withLock { $0.bytes } }
    /// The requests so far.
    var requests: [Request] { state.withLock { $0.requests } }
    /// Makes all requests fail from now on, or work again.
    func fail(with error: Errno?) { state.withLock { $0.failing = error } }
    func forgetRequests() { state.withLock { $0.requests = [] } }

    private func begin(_ kind: Request.Kind, _ range: ByteRange) throws(Errno) {
        let failing = state.withLock { state in
            state.requests.append(Request(kind: kind, range: range))
            return state.failing
        }
        if let failing { throw failing }
    }

    private func store(_ range: ByteRange, _ body: @Sendable (Int) -> UInt8) {
        state.withLock { state in
            let missing = Int(range.upperBound) - state.bytes.count
            if missing > 0 { state.bytes.append(contentsOf: [UInt8](repeating: 0, count: missing)) }
            for index in 0..<Int(range.length) { state.bytes[Int(range.lowerBound) + index] = body(index) }
        }
    }

    func read(_ range: ByteRange, into buffer: IOBuffer) async throws(Errno) {
        try begin(.read, range)
        state.withLock { state in
            for index in 0..<buffer.count {
                let place = Int(range.lowerBound) + index
                buffer.bytes[index] = place < state.bytes.count ? state.bytes[place] : 0
            }
        }
    }

    func write(_ range: ByteRange, from buffer: IOBuffer, flags: WriteFlags) async throws(Errno) {
        try begin(.write, range)
        store(range) { buffer.bytes[$0] }
    }

    func writeZeroes(_ range: ByteRange, flags: WriteFlags) async throws(Errno) {
        try begin(.zero, range)
        store(range) { _ in 0 }
    }

    func discard(_ range: ByteRange) async throws(Errno) {
        try begin(.discard, range)
        store(range) { _ in 0 }
    }

    func flush() async throws(Errno) { try begin(.flush, 0..<0) }

    func blockStatus(_ range: ByteRange, precision: BlockStatusPrecision) async throws(Errno) -> BlockStatus {
        let bytes = bytes
        let isZero = bytes[Int(range.lowerBound)] == 0
        let end = bytes[Int(range.lowerBound)..<Int(range.upperBound)].firstIndex { ($0 == 0) != isZero }
        let length = end.map { Int64($0) - range.lowerBound } ?? range.length
        return BlockStatus(
            length: length, isData: !isZero, isZero: isZero, isAllocated: true, hostOffset: range.lowerBound)
    }

    @GraphActor func resize(to length: Int64, exact: Bool, preallocation: Preallocation) async throws(BlockError) {
        state.withLock { state in
            let missing = Int(length) - state.bytes.count
            if missing > 0 {
                state.bytes.append(contentsOf: [UInt8](repeating: 0, count: missing))
            } else {
                state.bytes.removeLast(-missing)
            }
        }
    }

    @GraphActor func filename(of node: BlockNode) -> String { "memory.img" }
}
