import BlockGraph
import Glibc
import IOLoop
import JSON
import Synchronization

/// The filter that injects errors and halts requests, for tests. Spec: blkdebug.rst.
public final class BlkdebugDriver: BlockDriver {
    /// The options of the node.
    public let configuration: BlkdebugConfiguration
    /// The disk below.
    public let image: BlockChild
    public let limits: BlockLimits

    private let engine: Mutex<BlkdebugEngine>
    /// Spares requests the lock while no rule is armed.
    private let isIdle: Atomic<Bool>
    let breakpoints: BlkdebugBreakpoints

    private init(
        _ configuration: BlkdebugConfiguration, image: BlockChild, limits: BlockLimits, engine: BlkdebugEngine,
        report: @escaping @Sendable (String) -> Void
    ) {
        self.configuration = configuration
        self.image = image
        self.limits = limits
        self.engine = Mutex(engine)
        isIdle = Atomic(engine.isIdle)
        breakpoints = BlkdebugBreakpoints(report: report)
    }

    /// Opens the filter in a node above `image`.
    ///
    /// - Parameter report: takes the lines that tell of halted and resumed requests; standard output unless given.
    /// Errors: the file of rules cannot be read or makes no sense; a limit is no good.
    @GraphActor
    public static func open(
        _ configuration: BlkdebugConfiguration, in node: BlockNode, image: BlockNode,
        report: @escaping @Sendable (String) -> Void = printLine
    ) async throws(BlockError) -> BlkdebugDriver {
        var injections = configuration.injectError
        var transitions = configuration.setState
        if let name = configuration.configFile {
            let rules = try BlkdebugRuleFile(parsing: try await readText(name))
            injections = rules.injections + injections
            transitions = rules.transitions + transitions
        }
        let edge = node.graph.attach(image, to: node, as: "image", role: [.filtered, .primary])
        let limits = try configuration.limits(imageAlignment: image.driver.limits.requestAlignment)
        let engine = BlkdebugEngine(injections: injections, transitions: transitions)
        return BlkdebugDriver(configuration, image: edge, limits: limits, engine: engine, report: report)
    }

    /// The largest file of rules that is read, in bytes.
    private static let maximumFileSize = 1 << 20

    private static func readText(_ name: String) async throws(BlockError) -> String {
        do {
            let file = try await FileDescriptor.open(name, .readOnly)
            defer { file.closeNow() }
            let buffer = BufferPool.shared.take(count: maximumFileSize)
            defer { BufferPool.shared.give(buffer) }
            let count = try await file.readFully(into: buffer, at: 0)
            return String(decoding: buffer.bytes[..<count], as: UTF8.self)
        } catch {
            throw BlockError("Could not open '\(name)'", causedBy: error)
        }
    }

    /// Writes a line to standard output at once.
    @Sendable public static func printLine(_ line: String) {
        let bytes = Array("\(line)\n".utf8)
        _ = Glibc.write(STDOUT_FILENO, bytes, bytes.count)
    }

    public var driverName: String { "blkdebug" }
    public var length: Int64 { image.node.length }
    public var filteredChild: BlockChild? { image }
    public var debugEventSink: (any DebugEventSink)? { self }
    public var supportedWriteFlags: WriteFlags { [.forceUnitAccess, .unchanged] }
    public var supportedZeroFlags: WriteFlags { [.forceUnitAccess, .mayUnmap, .noFallback, .unchanged] }

    // MARK: I/O

    /// Fails where an armed rule says so.
    private func inject(_ type: BlkdebugIOType, _ range: ByteRange) async throws(Errno) {
        guard !isIdle.load(ordering: .acquiring) else { return }
        let injection = engine.withLock { engine in
            defer { isIdle.store(engine.isIdle, ordering: .releasing) }
            return engine.inject(type, range)
        }
        guard let injection else { return }
        if injection.delayNanoseconds > 0 { try await IOLoop.sleep(for: .nanoseconds(injection.delayNanoseconds)) }
        if injection.errno > 0 { throw Errno(rawValue: Int32(clamping: injection.errno)) }
    }

    public func read(_ range: ByteRange, into buffer: IOBuffer) async throws(Errno) {
        try await inject(.read, range)
        try await image.node.read(range, into: buffer)
    }

    public func write(_ range: ByteRange, from buffer: IOBuffer, flags: WriteFlags) async throws(Errno) {
        try await inject(.write, range)
        try await image.node.write(range, from: buffer, flags: flags)
    }

    /// Makes the range read as zeroes. ENOTSUP: it is shorter than what is efficient.
    public func writeZeroes(_ range: ByteRange, flags: WriteFlags) async throws(Errno) {
        guard range.length >= limits.writeZeroesAlignment else { throw .ENOTSUP }
        try await inject(.writeZeroes, range)
        try await image.node.writeZeroes(range, flags: flags)
    }

    /// Discards the range. ENOTSUP: it is shorter than what is efficient.
    public func discard(_ range: ByteRange) async throws(Errno) {
        guard range.length >= limits.discardAlignment else { throw .ENOTSUP }
        try await inject(.discard, range)
        try await image.node.discard(range)
    }

    public func flush() async throws(Errno) {
        try await inject(.flush, 0..<0)
        try await image.node.flush()
    }

    public func blockStatus(_ range: ByteRange, precision: BlockStatusPrecision) async throws(Errno) -> BlockStatus {
        try await inject(.blockStatus, range)
        return try await image.node.blockStatus(range, precision: precision)
    }

    // MARK: Control

    @GraphActor public func resize(to length: Int64, exact: Bool, preallocation: Preallocation) async throws(BlockError)
    {
        try await image.node.resize(to: length, exact: exact, preallocation: preallocation)
    }

    @GraphActor public func permissions(
        on child: BlockChild, of node: BlockNode, wanted: PermissionPair
    ) -> PermissionPair {
        var pair = PermissionPair.filter(wanted)
        pair.used.formUnion(configuration.takeChildPermissions)
        pair.shared.subtract(configuration.unshareChildPermissions)
        return pair
    }

    /// Unknown, as in QEMU.
    @GraphActor public func allocatedSize() async -> Int64? { nil }

    @GraphActor public func filename(of node: BlockNode) -> String {
        let below = image.node.driver.filename(of: image.node)
        let options = describingOptions(of: node)
        let isPlain = options.members.allSatisfy { ["driver", "image", "config"].contains($0.name) }
        guard isPlain, !below.hasPrefix("json:") else { return options.asFilename }
        return "blkdebug:\(configuration.configFile ?? ""):\(below)"
    }
}

extension BlkdebugDriver: DebugEventSink {
    public func debugEvent(_ event: DebugEvent) async {
        engine.withLock { engine in
            engine.process(event)
            isIdle.store(engine.isIdle, ordering: .releasing)
        }
        await breakpoints.pass(event)
    }

    public func setBreakpoint(_ event: DebugEvent, tag: String) -> Bool {
        guard DebugEvent.allNames.contains(event.rawValue) else { return false }
        breakpoints.set(event, tag: tag)
        return true
    }

    public func resume(tag: String) -> Bool { breakpoints.resume(tag: tag) }
    public func removeBreakpoint(tag: String) -> Bool { breakpoints.remove(tag: tag) }
    public func removeAllBreakpoints() { breakpoints.removeAll() }
    public func isSuspended(tag: String) -> Bool { breakpoints.isSuspended(tag: tag) }
    public func waitUntilSuspended(tag: String) async { await breakpoints.waitUntilSuspended(tag: tag) }
}
