import BlockGraph
import IOLoop
import Synchronization

/// A disk in memory that does what a test wants: limits, faults, pauses, missing abilities. It checks that the node keeps
/// to its limits, and notes the requests.
public final class MemoryDriver: BlockDriver {
    /// The kinds of requests.
    public enum Operation: String, Hashable, Sendable {
        case read, write, writeZeroes, discard, flush, blockStatus
    }

    /// A request as it arrived.
    public struct Request: Hashable, Sendable {
        /// The kind.
        public let operation: Operation
        /// The range; empty for a flush.
        public let range: ByteRange
        /// The flags; none for reads.
        public let flags: WriteFlags
    }

    /// What the driver can do. Set before the first request.
    public struct Abilities: Sendable {
        /// The sizes of requests.
        public var limits = BlockLimits()
        /// Whether writes beyond the end make the disk longer.
        public var grows = false
        /// Whether zeroing is more than ENOTSUP.
        public var zeroes = true
        /// Whether discarding is more than ENOTSUP.
        public var discards = true
        /// What discarded bytes read as.
        public var discardFill: UInt8 = 0
        /// Whether requests give way to others in their middle.
        public var yields = false
        /// The flags of writes that are carried out.
        public var writeFlags: WriteFlags = []

        /// The usual ones.
        public init() {}
    }

    fileprivate struct State {
        var bytes: [UInt8]
        var length: Int64
        var limits: BlockLimits
        var requests: [Request] = []
        var violations: [String] = []
        var faults: [(operation: Operation, range: ByteRange, error: Errno, count: Int)] = []
        var pauses: [(operation: Operation, range: ByteRange, pause: Pause)] = []
        var isClosed = false
    }

    let abilities: Abilities
    private let state: Mutex<State>

    /// A disk with the bytes.
    public init(_ bytes: [UInt8], abilities: Abilities = Abilities()) {
        self.abilities = abilities
        state = Mutex(State(bytes: bytes, length: Int64(bytes.count), limits: abilities.limits))
    }

    public var driverName: String { "memory" }
    public var isProtocol: Bool { true }
    public var length: Int64 { state.withLock { $0.length } }
    public var limits: BlockLimits { state.withLock { $0.limits } }
    public var supportedWriteFlags: WriteFlags { abilities.writeFlags }
    public var supportedZeroFlags: WriteFlags { abilities.writeFlags.union([.mayUnmap, .noFallback]) }

    // MARK: What tests look at and change

    /// The disk's bytes.
    public var bytes: [UInt8] { state.withLock { Array($0.bytes.prefix(Int($0.length))) } }
    /// The requests so far.
    public var requests: [Request] { state.withLock { $0.requests } }
    /// What the node did that it may not.
    public var violations: [String] { state.withLock { $0.violations } }
    /// Whether the driver was closed.
    public var isClosed: Bool { state.withLock { $0.isClosed } }

    /// Forgets the requests so far.
    public func forgetRequests() { state.withLock { $0.requests = [] } }

    /// Lets the next `count` requests of the kind that overlap the range fail.
    public func fail(
        _ operation: Operation, with error: Errno = .EIO, in range: ByteRange = 0..<Int64.max, count: Int = .max
    ) {
        state.withLock { $0.faults.append((operation, range, error, count)) }
    }

    /// Takes all faults away.
    public func repair() { state.withLock { $0.faults = [] } }

    /// Stops the next `limit` requests of the kind that overlap the range, before they do anything.
    public func pause(
        _ operation: Operation, in range: ByteRange = 0..<Int64.max, limit: Int = .max
    ) -> Pause {
        let pause = Pause(limit: limit)
        state.withLock { $0.pauses.append((operation, range, pause)) }
        return pause
    }

    /// Changes the limits, as a reopening does. In a drained section.
    public func setLimits(_ limits: BlockLimits) { state.withLock { $0.limits = limits } }

    // MARK: I/O

    public func read(_ range: ByteRange, into buffer: IOBuffer) async throws(Errno) {
        try await begin(.read, range, [], buffer)
        for half in halves(range) {
            if half.lowerBound > range.lowerBound { await Task.yield() }
            let part = buffer[Int(half.lowerBound - range.lowerBound)..<Int(half.upperBound - range.lowerBound)]
            state.withLock { state in
                let start = min(Int(half.lowerBound), state.bytes.count)
                let end = min(Int(half.upperBound), state.bytes.count)
                part.bytes.copyBytes(from: state.bytes[start..<end])
                part[end - start..<part.count].fill(0)
            }
        }
    }

    public func write(_ range: ByteRange, from buffer: IOBuffer, flags: WriteFlags) async throws(Errno) {
        try await begin(.write, range, flags, buffer)
        for half in halves(range) {
            if half.lowerBound > range.lowerBound { await Task.yield() }
            let part = buffer[Int(half.lowerBound - range.lowerBound)..<Int(half.upperBound - range.lowerBound)]
            state.withLock { state in
                state.makeRoom(upTo: half.upperBound, grows: abilities.grows)
                state.bytes.withUnsafeMutableBytes { bytes in
                    UnsafeMutableRawBufferPointer(rebasing: bytes[Int(half.lowerBound)..<Int(half.upperBound)])
                        .copyMemory(from: UnsafeRawBufferPointer(part.bytes))
                }
            }
        }
    }

    public func writeZeroes(_ range: ByteRange, flags: WriteFlags) async throws(Errno) {
        guard abilities.zeroes else { throw .ENOTSUP }
        try await begin(.writeZeroes, range, flags, nil)
        fill(range, with: 0)
    }

    public func discard(_ range: ByteRange) async throws(Errno) {
        guard abilities.discards else { throw .ENOTSUP }
        try await begin(.discard, range, [], nil)
        fill(range, with: abilities.discardFill)
    }

    public func flush() async throws(Errno) { try await begin(.flush, 0..<0, [], nil) }

    public func blockStatus(_ range: ByteRange, precision: BlockStatusPrecision) async throws(Errno) -> BlockStatus {
        try await begin(.blockStatus, range, [], nil)
        return state.withLock { state in
            let block = max(512, state.limits.requestAlignment)
            func isZero(_ index: Int64) -> Bool {
                let end = min(Int((index + 1) * block), state.bytes.count)
                return Int(index * block) >= end || state.bytes[Int(index * block)..<end].allSatisfy { $0 == 0 }
            }
            let first = range.lowerBound / block
            var last = first
            while (last + 1) * block < range.upperBound, isZero(last + 1) == isZero(first) { last += 1 }
            let end = min((last + 1) * block, range.upperBound)
            return BlockStatus(
                length: end - range.lowerBound, isData: !isZero(first), isZero: isZero(first), isAllocated: true,
                hostOffset: range.lowerBound)
        }
    }

    // MARK: Control

    @GraphActor public func filename(of node: BlockNode) -> String { "memory" }
    @GraphActor public func close() async { state.withLock { $0.isClosed = true } }
    @GraphActor public func resize(to length: Int64, exact: Bool, preallocation: Preallocation) async throws(BlockError)
    {
        state.withLock { state in
            state.bytes = Array(state.bytes.prefix(Int(length)))
            state.bytes += Array(repeating: 0, count: Int(length) - state.bytes.count)
            state.length = length
        }
    }

    /// Notes and checks a request, and lets it wait or fail where a test wants that.
    private func begin(
        _ operation: Operation, _ range: ByteRange, _ flags: WriteFlags, _ buffer: IOBuffer?
    ) async throws(Errno) {
        let pause = state.withLock { state -> Pause? in
            state.requests.append(Request(operation: operation, range: range, flags: flags))
            state.check(operation, range, buffer, abilities)
            return state.pauses.first { $0.operation == operation && $0.range.touches(range) }?.pause
        }
        if let pause { await pause.hold() }
        let error = state.withLock { state -> Errno? in
            guard
                let index = state.faults.firstIndex(where: {
                    $0.operation == operation && $0.range.touches(range) && $0.count > 0
                })
            else { return nil }
            state.faults[index].count -= 1
            return state.faults[index].error
        }
        if let error { throw error }
    }

    private func halves(_ range: ByteRange) -> [ByteRange] {
        guard abilities.yields, range.length > 1 else { return [range] }
        let middle = range.lowerBound + range.length / 2
        return [range.lowerBound..<middle, middle..<range.upperBound]
    }

    private func fill(_ range: ByteRange, with byte: UInt8) {
        state.withLock { state in
            state.makeRoom(upTo: range.upperBound, grows: abilities.grows)
            state.bytes.withUnsafeMutableBytes { bytes in
                for index in range { bytes[Int(index)] = byte }
            }
        }
    }
}

extension MemoryDriver.State {
    /// Room for writes up to `end`: padding behind the end of the disk is kept, but not shown.
    fileprivate mutating func makeRoom(upTo end: Int64, grows: Bool) {
        if end > bytes.count { bytes += Array(repeating: 0, count: Int(end) - bytes.count) }
        if grows { length = max(length, end) }
    }

    fileprivate mutating func check(
        _ operation: MemoryDriver.Operation, _ range: ByteRange, _ buffer: IOBuffer?,
        _ abilities: MemoryDriver.Abilities
    ) {
        func demand(_ holds: Bool, _ what: String) {
            if !holds { violations.append("\(operation.rawValue) \(range): \(what)") }
        }
        if isClosed { violations.append("\(operation.rawValue) after close") }
        guard operation != .flush else { return }
        let end = length.alignedUp(to: limits.requestAlignment)
        demand(!range.isEmpty, "empty")
        demand(range.isAligned(to: limits.requestAlignment), "not aligned")
        if operation == .read || !abilities.grows { demand(range.upperBound <= end, "passes the end") }
        switch operation {
        case .read, .write:
            demand(range.length <= limits.maximumTransfer, "too long")
            demand(buffer.map { Int64($0.count) } == range.length, "a buffer of another size")
            demand(
                buffer.map { UInt(bitPattern: $0.base) % UInt(limits.memoryAlignment) } == 0, "memory is not aligned")
        case .writeZeroes: demand(range.length <= limits.maximumWriteZeroes, "too long")
        case .discard:
            demand(range.length <= limits.maximumDiscard, "too long")
            demand(range.isAligned(to: limits.discardAlignment), "not aligned for a discard")
        case .flush, .blockStatus: break
        }
    }
}

extension Range where Bound == Int64 {
    /// Whether the ranges overlap, or this one covers all and the other is empty.
    fileprivate func touches(_ other: ByteRange) -> Bool { overlaps(other) || (other.isEmpty && self == 0..<Int64.max) }
}
