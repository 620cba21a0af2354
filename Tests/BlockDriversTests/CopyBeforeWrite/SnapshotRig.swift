import BlockGraph
import BlockTestSupport
import IOLoop
import StorageTestSupport
import Synchronization

@testable import BlockDrivers

/// A disk in memory under a copy-before-write filter, a guest above it, and a reader of the point in time.
struct SnapshotRig: Sendable {
    let graph: BlockGraph
    let source: MemoryDriver
    let target: MemoryDriver
    let sourceNode: BlockNode
    let targetNode: BlockNode
    let filterNode: BlockNode
    let filter: CopyBeforeWriteDriver
    let snapshotNode: BlockNode
    let guest: BlockBackend
    let reader: BlockBackend
    /// What the disk held at the beginning.
    let old: [UInt8]

    static let cluster: Int64 = 65536

    /// A rig over the bytes. `covered`: the ranges that the bitmap has dirty; nil for no bitmap.
    init(
        _ bytes: [UInt8], covered: [ByteRange]? = nil, bitmapGranularity: Int64 = cluster,
        onError: CopyBeforeWriteConfiguration.OnError = .breakGuestWrite, timeout: UInt32 = 0,
        minimumClusterSize: Int64 = 0, sourceAbilities: MemoryDriver.Abilities = MemoryDriver.Abilities(),
        targetAbilities: MemoryDriver.Abilities = MemoryDriver.Abilities(), clock: TestClock = TestClock()
    ) async throws(BlockError) {
        old = bytes
        graph = BlockGraph()
        source = MemoryDriver(bytes, abilities: sourceAbilities)
        target = MemoryDriver(pattern(bytes.count, 0xA5), abilities: targetAbilities)
        var options = NodeOptions()
        options.discard = .unmap
        sourceNode = try await graph.openMemory("disk", source, options: options)
        targetNode = try await graph.openMemory("temp", target, options: options)
        let bitmap = covered.map { ranges in
            let bitmap = DirtyBitmap(
                name: "b", length: Int64(bytes.count), granularity: bitmapGranularity, recording: false)
            for range in ranges { bitmap.withBits { $0.set(range) } }
            return bitmap
        }
        let configuration = CopyBeforeWriteConfiguration(
            bitmap: bitmap, onError: onError, timeout: timeout, minimumClusterSize: minimumClusterSize)
        (filterNode, filter) = try await graph.openFilter(
            configuration, source: sourceNode, target: targetNode, options: options, clock: clock)
        snapshotNode = try await graph.openSnapshotAccess(over: filterNode, options: options)
        guest = try await graph.attachWriter(filterNode, description: "the guest")
        reader = try await graph.attachWriter(snapshotNode, description: "the reader")
    }

    /// Takes everything down; both disks are closed then.
    func close() async {
        await graph.detach(reader)
        await graph.detach(guest)
        await graph.closeAll()
    }

    /// The point in time in the range.
    func snapshot(_ range: ByteRange) async throws(Errno) -> [UInt8] { try await reader.bytes(range) }

    /// What the range held at the beginning.
    func old(_ range: ByteRange) -> [UInt8] { Array(old[Int(range.lowerBound)..<Int(range.upperBound)]) }

    /// The whole disk.
    var all: ByteRange { 0..<Int64(old.count) }

    /// The bytes of the `n`th cluster.
    func cluster(_ n: Int64) -> ByteRange { n * Self.cluster..<(n + 1) * Self.cluster }

    /// The bytes that are dirty in the filter's bitmaps: to be copied, accessible, done.
    var bitmaps: (copy: [ByteRange], access: [ByteRange], done: [ByteRange]) {
        let state = filter.state
        return (
            Array(state.copy.snapshot().dirtyAreas), Array(state.access.snapshot().dirtyAreas),
            Array(state.done.snapshot().dirtyAreas)
        )
    }
}

extension BlockGraph {
    /// Opens a copy-before-write filter.
    func openFilter(
        _ configuration: CopyBeforeWriteConfiguration, source: BlockNode, target: BlockNode,
        options: NodeOptions = NodeOptions(), name: String = "cbw", clock: TestClock = TestClock()
    ) async throws(BlockError) -> (BlockNode, CopyBeforeWriteDriver) {
        let node = try await open(name: name, options: options) { (node) throws(BlockError) in
            try CopyBeforeWriteDriver.open(configuration, in: node, source: source, target: target) {
                (duration) async throws(Errno) in
                try await clock.sleep(duration)
            }
        }
        guard let driver = node.driver as? CopyBeforeWriteDriver else { throw BlockError("not a filter") }
        return (node, driver)
    }

    /// Opens a snapshot-access node.
    func openSnapshotAccess(
        over filter: BlockNode, options: NodeOptions = NodeOptions(), name: String = "snap"
    ) async throws(BlockError) -> BlockNode {
        try await open(name: name, options: options) { (node) throws(BlockError) in
            SnapshotAccessDriver.open(in: node, file: filter)
        }
    }
}

/// A clock that a test sets.
final class TestClock: Sendable {
    private let now = Locked(Duration.zero)
    private let queue = WaitQueue()
    private let asked = Locked<[Duration]>([])

    /// The durations that were asked for.
    var sleeps: [Duration] { asked.value }

    /// Returns when the clock has gone on by the duration. Throws ECANCELED.
    func sleep(_ duration: Duration) async throws(Errno) {
        let deadline = now.value + duration
        asked.withLock { $0.append(duration) }
        queue.notifyAll()
        try await queue.waitCancellable(until: { now.value >= deadline })
    }

    /// Lets the clock go on.
    func advance(by duration: Duration) {
        now.withLock { $0 += duration }
        queue.notifyAll()
    }

    /// Returns when somebody has slept `count` times in all.
    func waitUntilAsked(_ count: Int) async {
        await queue.wait(until: { asked.value.count >= count })
    }
}

/// Runs `body` as a task on the caller's loop.
func start<Value: Sendable>(
    _ body: @escaping @Sendable () async throws(Errno) -> Value
) -> Task<Result<Value, Errno>, Never> {
    Task(executorPreference: IOLoop.required) {
        do throws(Errno) { return .success(try await body()) } catch { return .failure(error) }
    }
}

/// Gives all other tasks of the loop several turns.
func letOthersRun() async {
    for _ in 0..<50 { await Task.yield() }
}

/// Random bytes that differ between clusters.
func randomDisk(_ count: Int, seed: UInt64 = 1) -> [UInt8] {
    var random = SeededGenerator(seed: seed)
    var words = [UInt64](repeating: 0, count: count / 8 + 1)
    for index in words.indices { words[index] = random.next() }
    return words.withUnsafeBytes { Array($0.prefix(count)) }
}
