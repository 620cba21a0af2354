import BlockGraph
import IOLoop
import JSON

/// A disk that forgets what is written to it, for measurements and tests.
///
/// Reads give zeroes, whatever `read-zeroes` says, so that no memory of another request gets out; the option only decides
/// whether block status promises it.
public final class NullDriver: BlockDriver {
    /// How the disk was made.
    public let configuration: NullConfiguration
    public let length: Int64
    public let limits = BlockLimits()

    /// Makes a disk. Errors: an option is out of range.
    public init(_ configuration: NullConfiguration) throws(BlockError) {
        try configuration.check()
        self.configuration = configuration
        length = (configuration.size ?? 1 << 30).alignedUp(to: 512)
    }

    public var driverName: String { configuration.kind.rawValue }
    public var isProtocol: Bool { true }
    public var supportedWriteFlags: WriteFlags { .forceUnitAccess }
    public var supportedZeroFlags: WriteFlags { [.forceUnitAccess, .mayUnmap, .noFallback] }

    // MARK: I/O

    public func read(_ range: ByteRange, into buffer: IOBuffer) async throws(Errno) {
        await delay()
        buffer.fill(0)
    }

    public func write(_ range: ByteRange, from buffer: IOBuffer, flags: WriteFlags) async throws(Errno) {
        await delay()
    }

    public func writeZeroes(_ range: ByteRange, flags: WriteFlags) async throws(Errno) { await delay() }

    public func discard(_ range: ByteRange) async throws(Errno) {}

    public func flush() async throws(Errno) { await delay() }

    public func blockStatus(_ range: ByteRange, precision: BlockStatusPrecision) async throws(Errno) -> BlockStatus {
        let zero = configuration.readZeroes == true
        return BlockStatus(length: range.length, isZero: zero, isAllocated: zero, hostOffset: range.lowerBound)
    }

    /// Lets the latency pass; a cancelled task does not wait for it.
    private func delay() async {
        guard configuration.latencyNanoseconds > 0 else { return }
        try? await IOLoop.sleep(for: .nanoseconds(configuration.latencyNanoseconds))
    }

    // MARK: Control

    @GraphActor public func prepareReopen(_ request: ReopenRequest) async throws(BlockError) -> ReopenAction {
        ReopenAction()
    }

    @GraphActor public func filename(of node: BlockNode) -> String {
        let options = describingOptions(of: node)
        return options.count == 1 ? "\(driverName)://" : options.asFilename
    }

    @GraphActor public func allocatedSize() async -> Int64? { 0 }
}

extension NullDriver: DescribedByOptions {
    @GraphActor func describingOptions(of node: BlockNode) -> JSONObject {
        var options: JSONObject = ["driver": .string(driverName)]
        if let size = configuration.size { options["size"] = .integer(size) }
        if let readZeroes = configuration.readZeroes { options["read-zeroes"] = .bool(readZeroes) }
        return options
    }
}
