import BlockGraph
import IOLoop
import Synchronization

/// A disk in memory that passes for a file, with clusters that may be unallocated, failures on demand, and breakpoints.
final class TestDriver: BlockDriver {
    struct State {
        var bytes: [UInt8]
        var allocatedClusters: Set<Int64> = []
        var failure: Errno?
        var flushes = 0
        var flagsOfLastWrite: WriteFlags = []
    }

    let state: Mutex<State>
    /// The cluster size; nil for a disk that has everything allocated.
    let clusterSize: Int64?
    let sink: TestEventSink?
    let canCompress: Bool

    init(_ count: Int, clusterSize: Int64? = nil, sink: TestEventSink? = nil, canCompress: Bool = false) {
        state = Mutex(State(bytes: [UInt8](repeating: 0, count: count)))
        self.clusterSize = clusterSize
        self.sink = sink
        self.canCompress = canCompress
    }

    var driverName: String { "file" }
    var isProtocol: Bool { true }
    var length: Int64 { state.withLock { Int64($0.bytes.count) } }
    var limits: BlockLimits { BlockLimits() }
    var debugEventSink: (any DebugEventSink)? { sink }
    var supportedWriteFlags: WriteFlags { canCompress ? [.compressed, .forceUnitAccess] : [] }
    var supportedZeroFlags: WriteFlags { [.mayUnmap, .noFallback] }

    func fail(with failure: Errno?) { state.withLock { $0.failure = failure } }

    private func checkFailure() throws(Errno) {
        if let failure = state.withLock({ $0.failure }) { throw failure }
    }

    func read(_ range: ByteRange, into buffer: IOBuffer) async throws(Errno) {
        await sink?.debugEvent(.readAIO)
        try checkFailure()
        state.withLock { state in
            state.bytes.withUnsafeMutableBytes { bytes in
                let part = UnsafeMutableRawBufferPointer(rebasing: bytes[Int(range.lowerBound)..<Int(range.upperBound)])
                buffer.copy(from: IOBuffer(part))
            }
        }
    }

    func write(_ range: ByteRange, from buffer: IOBuffer, flags: WriteFlags) async throws(Errno) {
        try checkFailure()
        state.withLock { state in
            state.flagsOfLastWrite = flags
            state.bytes.replaceSubrange(Int(range.lowerBound)..<Int(range.upperBound), with: buffer.bytes)
            allocate(range, &state)
        }
    }

    func writeZeroes(_ range: ByteRange, flags: WriteFlags) async throws(Errno) {
        try checkFailure()
        state.withLock { state in
            state.flagsOfLastWrite = flags
            state.bytes.replaceSubrange(
                Int(range.lowerBound)..<Int(range.upperBound), with: [UInt8](repeating: 0, count: Int(range.length)))
            allocate(range, &state)
        }
    }

    private func allocate(_ range: ByteRange, _ state: inout State) {
        guard let clusterSize else { return }
        for cluster in range.lowerBound / clusterSize...(range.upperBound - 1) / clusterSize {
            state.allocatedClusters.insert(cluster)
        }
    }

    /// Discarded bytes read as zeroes, and stay allocated.
    func discard(_ range: ByteRange) async throws(Errno) { try await writeZeroes(range, flags: .mayUnmap) }

    func flush() async throws(Errno) {
        try checkFailure()
        state.withLock { $0.flushes += 1 }
    }

    func blockStatus(_ range: ByteRange, precision: BlockStatusPrecision) async throws(Errno) -> BlockStatus {
        try checkFailure()
        guard let clusterSize else { return BlockStatus(length: range.length, isData: true, isAllocated: true) }
        let cluster = range.lowerBound / clusterSize
        let isAllocated = state.withLock { $0.allocatedClusters.contains(cluster) }
        let end = min(range.upperBound, (cluster + 1) * clusterSize)
        return BlockStatus(length: end - range.lowerBound, isData: isAllocated, isAllocated: isAllocated)
    }

    @GraphActor func resize(to length: Int64, exact: Bool, preallocation: Preallocation) async throws(BlockError) {
        guard preallocation != .metadata else {
            throw BlockError("Unsupported preallocation mode: metadata")
        }
        guard preallocation == .off || length >= self.length else {
            throw BlockError("Cannot use preallocation for shrinking files")
        }
        state.withLock { state in
            // As in a file: what lies behind the length, up to a whole sector, reads as zeroes.
            let kept = state.bytes.prefix(Int(length))
            state.bytes = kept + [UInt8](repeating: 0, count: Int(length.alignedUp(to: 512)) - kept.count)
        }
    }

    @GraphActor func filename(of node: BlockNode) -> String { "memory" }
}
