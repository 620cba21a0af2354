import BlockGraph
import BlockTestSupport
import IOLoop
import StorageTestSupport
import Synchronization
import Testing

@testable import BlockDrivers

/// A filter one request of which fails.
final class FaultyDriver: BlockDriver {
    /// What can fail.
    enum Operation: String, Sendable, CaseIterable {
        case read, write, writeZeroes, discard, flush
    }

    private let file: BlockChild
    private let state: Mutex<(operation: Operation, remaining: Int)?>

    init(_ file: BlockChild, failing operation: Operation, number: Int) {
        self.file = file
        state = Mutex((operation, number))
    }

    /// Whether the request failed already.
    var hasFailed: Bool { state.withLock { $0 == nil } }
    /// Lets all requests through from now on.
    func heal() { state.withLock { $0 = nil } }

    var driverName: String { "faulty" }
    var length: Int64 { file.node.length }
    var limits: BlockLimits { file.node.driver.limits }
    var supportedZeroFlags: WriteFlags { [.mayUnmap, .noFallback] }
    var filteredChild: BlockChild? { file }

    private func pass(_ operation: Operation) throws(Errno) {
        let fails = state.withLock { state in
            guard let current = state, current.operation == operation else { return false }
            state = current.remaining == 0 ? nil : (operation, current.remaining - 1)
            return current.remaining == 0
        }
        if fails { throw .EIO }
    }

    func read(_ range: ByteRange, into buffer: IOBuffer) async throws(Errno) {
        try pass(.read)
        try await file.node.read(range, into: buffer)
    }

    /// A write that fails has written its first half.
    func write(_ range: ByteRange, from buffer: IOBuffer, flags: WriteFlags) async throws(Errno) {
        do {
            try pass(.write)
        } catch {
            let half = buffer.count / 2
            if half > 0 {
                try await file.node.write(range.lowerBound..<range.lowerBound + Int64(half), from: buffer[..<half])
            }
            throw error
        }
        try await file.node.write(range, from: buffer, flags: flags)
    }

    func writeZeroes(_ range: ByteRange, flags: WriteFlags) async throws(Errno) {
        try pass(.writeZeroes)
        try await file.node.writeZeroes(range, flags: flags)
    }

    func discard(_ range: ByteRange) async throws(Errno) {
        try pass(.discard)
        try await file.node.discard(range)
    }

    func flush() async throws(Errno) {
        try pass(.flush)
        try await file.node.flush()
    }

    func blockStatus(_ range: ByteRange, precision: BlockStatusPrecision) async throws(Errno) -> BlockStatus {
        try await file.node.blockStatus(range, precision: precision)
    }

    @GraphActor func resize(to length: Int64, exact: Bool, preallocation: Preallocation) async throws(BlockError) {
        try await file.node.resize(to: length, exact: exact, preallocation: preallocation)
    }

    @GraphActor func filename(of node: BlockNode) -> String { file.node.driver.filename(of: file.node) }
}

/// One request to the file fails: the guest hears of it or has lost nothing, and the image has no errors.
@Suite(.enabled(if: imageTool != nil)) struct Qcow2DriverFaultTests {
    private static let shapes = [
        Qcow2Shape(clusterSize: 4096, backing: .raw),
        Qcow2Shape(clusterSize: 65536),
        Qcow2Shape(clusterSize: 16384, ["extended_l2=on"], backing: .shorter),
        Qcow2Shape(clusterSize: 512, ["refcount_bits=64"]),
    ]

    @Test(arguments: shapes, FaultyDriver.Operation.allCases)
    func `an error of the file is the guest's or harmless`(
        _ shape: Qcow2Shape, _ operation: FaultyDriver.Operation
    ) async throws {
        try await withLoops(1) { loops in
            try await Task(executorPreference: loops[0]) {
                // Later numbers have more behind them.
                for number in [0, 1, 2, 3, 4, 5, 7, 9, 12, 16, 21, 28, 40, 60] {
                    let seed = UInt64.random(in: 0..<10_000)
                    guard try await Self.round(shape, operation, number, seed: seed) else { break }
                }
            }.value
        }
    }

    /// One image with one error; false where the request of the number never came.
    private static func round(
        _ shape: Qcow2Shape, _ operation: FaultyDriver.Operation, _ number: Int, seed: UInt64
    ) async throws -> Bool {
        let comment = "\(shape) \(operation) \(number) seed \(seed)"
        let files = try Qcow2DriverFiles(shape, seed: seed)
        var model = DiskModel(files.initial, shape, seed: seed)
        let faulty = Locked<FaultyDriver?>(nil)
        // Opening has its own tests: the count begins when the image is open.
        let rig = try await open(files, operation, number + (operation == .read ? 8 : 0), faulty)
        for _ in 0..<80 {
            let range = model.range()
            let request = model.request(range)
            let error = await errno { () async throws(Errno) in
                if case .read = request {
                    let difference = try await rig.guest.difference(from: model, range)
                    #expect(difference == nil, "\(comment)")
                } else {
                    try await rig.guest.carryOut(request, range)
                }
            }
            guard error != nil else {
                model.apply(request, range)
                continue
            }
            try await adopt(rig, request, range, &model, comment)
        }
        faulty.value?.heal()
        let hasFailed = faulty.value?.hasFailed ?? false
        let length = Int64(model.bytes.count)
        let error = await errno { () async throws(Errno) in
            let difference = try await rig.guest.difference(from: model, 0..<length)
            #expect(difference == nil, "\(comment)")
            try await rig.guest.flush()
        }
        #expect(error == nil, "\(comment)")
        await rig.close()
        try files.verify(model.bytes, comment, allowingLeaks: true)
        return hasFailed
    }

    /// Opens an image above a filter one request of which fails.
    @GraphActor private static func open(
        _ files: Qcow2DriverFiles, _ operation: FaultyDriver.Operation, _ number: Int,
        _ faulty: Locked<FaultyDriver?>
    ) async throws -> Qcow2DriverRig {
        try await Qcow2DriverRig.open(files) { (graph, file) async throws(BlockError) in
            try await graph.open(name: nil, options: file.options) { node in
                let edge = graph.attach(file, to: node, as: "file", role: [.filtered, .primary])
                let driver = FaultyDriver(edge, failing: operation, number: number)
                faulty.withLock { $0 = driver }
                return driver
            }
        }
    }

    /// After an error every byte of the range is as before or as it should have become.
    private static func adopt(
        _ rig: Qcow2DriverRig, _ request: DiskModel.Request, _ range: ByteRange, _ model: inout DiskModel,
        _ comment: String
    ) async throws {
        var after = model
        after.apply(request, range)
        let now = try await rig.guest.readBytes(range)
        let strangers = now.indices.filter { index in
            let place = Int(range.lowerBound) + index
            return now[index] != model.bytes[place] && now[index] != after.bytes[place]
        }
        #expect(strangers.isEmpty, "\(comment): \(request.name) \(range)")
        model.set(range, now)
    }
}
