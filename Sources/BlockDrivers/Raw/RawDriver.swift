import BlockGraph
import IOLoop
import JSON

/// A disk whose bytes are those of a file, or of a part of a file.
public final class RawDriver: BlockDriver {
    /// The file.
    public let file: BlockChild

    /// Written before any I/O and in drained sections, when no I/O reads it.
    private nonisolated(unsafe) var current: RawConfiguration

    public let limits = BlockLimits()

    private init(_ configuration: RawConfiguration, file: BlockChild) {
        current = configuration
        self.file = file
    }

    /// Attaches the file to a node that is being opened. The options are checked against the file's length when the node
    /// starts, and once more whenever it is reopened.
    @GraphActor
    public static func open(_ configuration: RawConfiguration, in node: BlockNode, file: BlockNode) -> RawDriver {
        // Without limits the node behaves like a filter: others may do with the file what they may do with the node.
        let role: ChildRole = configuration.showsWholeFile ? [.filtered, .primary] : [.data, .primary]
        return RawDriver(configuration, file: node.graph.attach(file, to: node, as: "file", role: role))
    }

    /// The options that hold. Constant but for drained sections.
    public var configuration: RawConfiguration { current }

    public var driverName: String { "raw" }
    public var supportedWriteFlags: WriteFlags { .forceUnitAccess }
    public var supportedZeroFlags: WriteFlags { [.forceUnitAccess, .mayUnmap, .noFallback, .leavingHoles] }

    /// The length, rounded up to whole sectors of 512 bytes; what lies beyond the file's end reads as zeroes.
    public var length: Int64 {
        current.size ?? max(0, file.node.length - start).alignedUp(to: 512)
    }

    /// Where the disk begins in the file.
    private var start: Int64 { current.offset ?? 0 }

    // MARK: I/O

    public func read(_ range: ByteRange, into buffer: IOBuffer) async throws(Errno) {
        let node = file.node
        if let sink = node.driver.debugEventSink { await sink.debugEvent(.readAIO) }
        try await node.read(try inFile(range), into: buffer)
    }

    /// Writes to the file, which a write beyond its end makes longer. ENOSPC: the range passes the end of the part.
    public func write(_ range: ByteRange, from buffer: IOBuffer, flags: WriteFlags) async throws(Errno) {
        let node = file.node
        let range = try inFile(forWriting: range)
        if let sink = node.driver.debugEventSink { await sink.debugEvent(.writeAIO) }
        try await node.write(range, from: buffer, flags: flags)
    }

    public func writeZeroes(_ range: ByteRange, flags: WriteFlags) async throws(Errno) {
        try await file.node.writeZeroes(try inFile(forWriting: range), flags: flags)
    }

    public func discard(_ range: ByteRange) async throws(Errno) {
        try await file.node.discard(try inFile(forWriting: range))
    }

    public func flush() async throws(Errno) { try await file.node.flush() }

    public func blockStatus(_ range: ByteRange, precision: BlockStatusPrecision) async throws(Errno) -> BlockStatus {
        let node = file.node
        let place = try inFile(range)
        var status = try await node.blockStatus(place, precision: precision)
        if status.length > 0, !status.isAllocated {
            // The data of an overlay's backing images are data here. This layer has them not, though.
            status = try await node.blockStatusAbove(base: nil, place, precision: precision).status
            status.isAllocated = false
        }
        // The file ends before the disk does.
        if status.length == 0 { return BlockStatus(length: range.length, isZero: true, isAllocated: true) }
        if status.hostOffset != nil, status.file == nil { status.file = node }
        return status
    }

    /// A range of the disk as a range of the file. EINVAL: it would pass 2^63 - 1.
    private func inFile(_ range: ByteRange) throws(Errno) -> ByteRange {
        let start = start
        let (end, overflow) = range.upperBound.addingReportingOverflow(start)
        guard !overflow else { throw .EINVAL }
        return range.lowerBound + start..<end
    }

    private func inFile(forWriting range: ByteRange) throws(Errno) -> ByteRange {
        if let size = current.size, range.upperBound > size { throw .ENOSPC }
        return try inFile(range)
    }

    // MARK: Control

    @GraphActor public func start(in node: BlockNode) async throws(BlockError) {
        try current.check(fileLength: file.node.length)
    }

    /// Makes the file longer or shorter. Errors: the disk has a fixed size; the file would be too long; the file's own.
    @GraphActor public func resize(to length: Int64, exact: Bool, preallocation: Preallocation) async throws(BlockError)
    {
        guard current.size == nil else {
            throw BlockError("Cannot resize fixed-size raw disks", kind: .generic, errno: .ENOTSUP)
        }
        guard length <= Int64.max - start, length + start <= BlockNode.maximumLength else {
            throw BlockError("Disk size too large for the chosen offset", kind: .generic, errno: .EINVAL)
        }
        try await file.node.resize(to: length + start, exact: exact, preallocation: preallocation)
    }

    @GraphActor public func prepareReopen(_ request: ReopenRequest) async throws(BlockError) -> ReopenAction {
        guard let new = request.driverOptions as? RawConfiguration else { return ReopenAction() }
        try new.check(fileLength: file.node.length)
        return ReopenAction(commit: { self.current = new })
    }

    /// The permissions on the file: what is done with the node is done with the file, whose length must not change under a
    /// part of it. What other parents may do follows the options, which a reopening can change.
    @GraphActor public func permissions(
        on child: BlockChild, of node: BlockNode, wanted: PermissionPair
    ) -> PermissionPair {
        PermissionPair(
            used: wanted.used, shared: current.showsWholeFile ? wanted.shared : wanted.shared.subtracting(.resize))
    }

    @GraphActor public func allocatedSize() async -> Int64? { await file.node.driver.allocatedSize() }

    @GraphActor public func filename(of node: BlockNode) -> String {
        let file = file.node
        if current.offset == nil, current.size == nil, file.driver.isProtocol {
            let name = file.driver.filename(of: file)
            if !name.hasPrefix("json:") { return name }
        }
        return describingOptions(of: node).asFilename
    }
}

extension RawDriver: DescribedByOptions {
    @GraphActor func describingOptions(of node: BlockNode) -> JSONObject {
        var options: JSONObject = ["driver": "raw", "file": .object(file.node.describingOptions)]
        if let offset = current.offset { options["offset"] = .integer(offset) }
        if let size = current.size { options["size"] = .integer(size) }
        return options
    }
}
