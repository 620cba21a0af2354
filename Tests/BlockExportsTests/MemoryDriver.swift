import BlockGraph
import IOLoop
import Synchronization

/// A driver that keeps its bytes in memory, in blocks of 4096 that are holes until they are written.
final class MemoryDriver: BlockDriver {
    enum Operation: Hashable, Sendable {
        case read
        case write
        case writeZeroes
        case discard
        case flush
        case blockStatus
    }

    static let blockSize: Int64 = 4096

    struct State {
        var bytes: [UInt8]
        var isAllocated: [Bool]
        var errors: [Operation: Errno] = [:]
        var counts: [Operation: Int] = [:]
        var lastFlags: WriteFlags = []
        var loops: Set<String> = []
        /// While set, reads and writes wait.
        var isHeld = false
        var held: [UnsafeContinuation<Void, Never>] = []
        /// Who waits for a number of held requests.
        var watchers: [(count: Int, continuation: UnsafeContinuation<Void, Never>)] = []
    }

    let state: Mutex<State>
    let limits: BlockLimits
    let length: Int64
    let isFastZero: Bool

    init(size: Int, alignment: Int64 = 1, isFastZero: Bool = true) {
        var limits = BlockLimits()
        limits.requestAlignment = alignment
        self.limits = limits
        self.isFastZero = isFastZero
        length = Int64(size)
        let blocks = (size + Int(Self.blockSize) - 1) / Int(Self.blockSize)
        state = Mutex(
            State(bytes: [UInt8](repeating: 0, count: size), isAllocated: [Bool](repeating: false, count: blocks)))
    }

    var driverName: String { "memory" }
    var isProtocol: Bool { true }
    @GraphActor func filename(of node: BlockNode) -> String { "" }

    // MARK: Control by the test

    func fail(_ operation: Operation, with errno: Errno?) {
        state.withLock { $0.errors[operation] = errno }
    }

    func count(_ operation: Operation) -> Int { state.withLock { $0.counts[operation] ?? 0 } }

    func hold() { state.withLock { $0.isHeld = true } }

    func releaseAll() {
        let held = state.withLock { state in
            state.isHeld = false
            defer { state.held = [] }
            return state.held
        }
        for continuation in held { continuation.resume() }
    }

    var heldCount: Int { state.withLock { $0.held.count } }

    /// Returns when `count` requests are held.
    func waitUntilHeld(_ count: Int) async {
        await withUnsafeContinuation { continuation in
            let isThere = state.withLock { state in
                if state.held.count < count { state.watchers.append((count, continuation)) }
                return state.held.count >= count
            }
            if isThere { continuation.resume() }
        }
    }

    // MARK: I/O

    private func enter(_ operation: Operation) throws(Errno) {
        let error = state.withLock { state in
            state.counts[operation, default: 0] += 1
            state.loops.insert(IOLoop.current?.name ?? "")
            return state.errors[operation]
        }
        if let error { throw error }
    }

    private func pass() async {
        guard state.withLock({ $0.isHeld }) else { return }
        await withUnsafeContinuation { continuation in
            let (isHeld, woken) = state.withLock { state -> (Bool, [UnsafeContinuation<Void, Never>]) in
                guard state.isHeld else { return (false, []) }
                state.held.append(continuation)
                let count = state.held.count
                let woken = state.watchers.filter { $0.count <= count }.map(\.continuation)
                state.watchers.removeAll { $0.count <= count }
                return (true, woken)
            }
            for watcher in woken { watcher.resume() }
            if !isHeld { continuation.resume() }
        }
    }

    func read(_ range: ByteRange, into buffer: IOBuffer) async throws(Errno) {
        try enter(.read)
        await pass()
        state.withLock { state in
            let start = Int(range.lowerBound)
            let inside = min(buffer.count, state.bytes.count - start)
            state.bytes.withUnsafeBytes { bytes in
                let source = UnsafeRawBufferPointer(rebasing: bytes[start..<start + inside])
                buffer[0..<inside].copy(from: IOBuffer(source))
            }
            buffer[inside...].fill(0)
        }
    }

    func write(_ range: ByteRange, from buffer: IOBuffer, flags: WriteFlags) async throws(Errno) {
        try enter(.write)
        await pass()
        state.withLock { state in
            state.lastFlags = flags
            let start = Int(range.lowerBound)
            let inside = min(buffer.count, state.bytes.count - start)
            state.bytes.withUnsafeMutableBytes { bytes in
                let target = UnsafeMutableRawBufferPointer(rebasing: bytes[start..<start + inside])
                IOBuffer(target).copy(from: buffer[0..<inside])
            }
            state.allocate(range)
        }
    }

    func writeZeroes(_ range: ByteRange, flags: WriteFlags) async throws(Errno) {
        if !isFastZero { throw .ENOTSUP }
        try enter(.writeZeroes)
        state.withLock { state in
            state.lastFlags = flags
            state.zero(range)
            if flags.contains(.mayUnmap) { state.deallocate(range) } else { state.allocate(range) }
        }
    }

    func discard(_ range: ByteRange) async throws(Errno) {
        try enter(.discard)
        state.withLock { state in
            let inner = range.aligned(inwardTo: MemoryDriver.blockSize)
            state.zero(inner)
            state.deallocate(inner)
        }
    }

    func flush() async throws(Errno) { try enter(.flush) }

    func blockStatus(_ range: ByteRange, precision: BlockStatusPrecision) async throws(Errno) -> BlockStatus {
        try enter(.blockStatus)
        return state.withLock { state in
            let first = Int(range.lowerBound / MemoryDriver.blockSize)
            let isAllocated = state.isAllocated[first]
            var end = first + 1
            while end < state.isAllocated.count, state.isAllocated[end] == isAllocated { end += 1 }
            let length = min(Int64(end) * MemoryDriver.blockSize, range.upperBound) - range.lowerBound
            return BlockStatus(length: length, isData: isAllocated, isZero: !isAllocated, isAllocated: isAllocated)
        }
    }
}

extension MemoryDriver.State {
    mutating func zero(_ range: ByteRange) {
        let inside = range.clamped(to: 0..<Int64(bytes.count))
        bytes.withUnsafeMutableBytes { all in
            let target = UnsafeMutableRawBufferPointer(
                rebasing: all[Int(inside.lowerBound)..<Int(inside.upperBound)])
            IOBuffer(target).fill(0)
        }
    }

    mutating func allocate(_ range: ByteRange) {
        guard !range.isEmpty else { return }
        let size = MemoryDriver.blockSize
        for block in Int(range.lowerBound / size)...Int((range.upperBound - 1) / size) where block < isAllocated.count {
            isAllocated[block] = true
        }
    }

    mutating func deallocate(_ range: ByteRange) {
        let inner = range.aligned(inwardTo: MemoryDriver.blockSize)
        for block in Int(inner.lowerBound / MemoryDriver.blockSize)..<Int(inner.upperBound / MemoryDriver.blockSize) {
            isAllocated[block] = false
        }
    }
}
