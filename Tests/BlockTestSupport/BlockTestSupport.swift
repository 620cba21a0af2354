// Helpers shared by the tests of the block layer.
import BlockGraph
import Glibc
import IOLoop
import Synchronization

extension BlockGraph {
    /// Opens a node over a memory disk.
    public func openMemory(
        _ name: String? = nil, _ driver: MemoryDriver, options: NodeOptions = NodeOptions(),
        isOwnedByMonitor: Bool = false
    ) async throws(BlockError) -> BlockNode {
        try await open(name: name, options: options, isOwnedByMonitor: isOwnedByMonitor) { _ in driver }
    }

    /// Attaches a user that may read and write and lets others do everything.
    public func attachWriter(
        _ node: BlockNode, description: String = "block device ''",
        permissions: PermissionPair = PermissionPair(used: [.consistentRead, .write])
    ) throws(BlockError) -> BlockBackend {
        try attach(description, to: node, permissions: permissions)
    }
}

/// Random or constant bytes that are not all zero.
public func pattern(_ count: Int, _ byte: UInt8) -> [UInt8] { Array(repeating: byte, count: count) }

/// Calls `body` with a buffer that holds the bytes, at an address that is `misalignment` off a page.
public func withBytes<Failure: Error>(
    _ bytes: [UInt8], misalignment: Int = 0, _ body: (IOBuffer) async throws(Failure) -> Void
) async throws(Failure) {
    let whole = BufferPool.shared.take(count: bytes.count + misalignment)
    defer { BufferPool.shared.give(whole) }
    let buffer = whole[misalignment..<misalignment + bytes.count]
    bytes.withUnsafeBytes { buffer.bytes.copyMemory(from: $0) }
    try await body(buffer)
}

extension BlockNode {
    /// The bytes of the range.
    public func bytes(_ range: ByteRange, misalignment: Int = 0) async throws(Errno) -> [UInt8] {
        var result: [UInt8] = []
        try await withBytes(pattern(Int(range.length), 0xEE), misalignment: misalignment) { (buffer) throws(Errno) in
            try await read(range, into: buffer)
            result = Array(buffer.bytes)
        }
        return result
    }

    /// Writes the bytes.
    public func write(
        _ bytes: [UInt8], at offset: Int64, flags: WriteFlags = [], misalignment: Int = 0
    ) async throws(Errno) {
        try await withBytes(bytes, misalignment: misalignment) { (buffer) throws(Errno) in
            try await write(offset..<offset + Int64(bytes.count), from: buffer, flags: flags)
        }
    }
}

extension BlockBackend {
    /// The bytes of the range.
    public func bytes(_ range: ByteRange) async throws(Errno) -> [UInt8] {
        var result: [UInt8] = []
        try await withBytes(pattern(Int(range.length), 0xEE)) { (buffer) throws(Errno) in
            try await read(range, into: buffer)
            result = Array(buffer.bytes)
        }
        return result
    }

    /// Writes the bytes.
    public func write(_ bytes: [UInt8], at offset: Int64, flags: WriteFlags = []) async throws(Errno) {
        try await withBytes(bytes) { (buffer) throws(Errno) in
            try await write(offset..<offset + Int64(bytes.count), from: buffer, flags: flags)
        }
    }
}

/// What `body` throws; nil where it returns.
public func failure<Failure: Error>(_ body: () async throws(Failure) -> Void) async -> Failure? {
    do throws(Failure) {
        try await body()
        return nil
    } catch {
        return error
    }
}

/// Runs `body` on `count` loops of their own, which have ended on return; `body` gets them.
public func withLoops(_ count: Int, _ body: ([IOLoop]) async throws -> Void) async throws {
    IOLoop.main.start()  // The control plane's, which other tests may not have started.
    let loops = try (0..<count).map { try IOLoop(name: "test-\($0)") }
    for loop in loops { loop.start() }
    defer {
        for loop in loops {
            loop.stop()
            loop.join()
        }
    }
    try await body(loops)
}

/// The files below the path that the process has open, one for each descriptor.
public func openFiles(below path: String) -> [String] {
    openDescriptors(below: path).map(\.path)
}

/// The descriptors of the process that are open on files below the path.
public func openDescriptors(below path: String) -> [(number: Int32, path: String)] {
    guard let directory = opendir("/proc/self/fd") else { return [] }
    defer { closedir(directory) }
    var found: [(number: Int32, path: String)] = []
    while let entry = readdir(directory) {
        let name = withUnsafePointer(to: &entry.pointee.d_name) { bytes in
            bytes.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
        }
        var target = [UInt8](repeating: 0, count: 4096)
        let count = readlink("/proc/self/fd/\(name)", &target, target.count)
        guard count > 0, let number = Int32(name) else { continue }
        let text = String(decoding: target.prefix(count), as: UTF8.self)
        if text.hasPrefix(path) { found.append((number, text)) }
    }
    return found
}

/// Sets a flag that tasks of all loops see.
public final class Flag: Sendable {
    private let value = Atomic<Bool>(false)

    /// A flag that is not set.
    public init() {}

    /// Whether it is set.
    public var isSet: Bool { value.load(ordering: .acquiring) }

    /// Sets it.
    public func set() { value.store(true, ordering: .releasing) }
}

/// A number that tasks of all loops change.
public final class Counter: Sendable {
    private let number = Atomic<Int>(0)

    /// Zero.
    public init() {}

    /// The number.
    public var value: Int { number.load(ordering: .sequentiallyConsistent) }

    /// Adds to the number.
    public func add(_ amount: Int = 1) { number.wrappingAdd(amount, ordering: .sequentiallyConsistent) }
}

/// A value that tasks of all loops change.
public final class Locked<Value: Sendable>: Sendable {
    private let state: Mutex<Value>

    /// The value to begin with.
    public init(_ value: Value) { state = Mutex(value) }

    /// The value.
    public var value: Value { state.withLock { $0 } }

    /// Changes the value in one step.
    public func withLock<Result: Sendable>(_ body: (inout Value) -> Result) -> Result {
        state.withLock { body(&$0) }
    }
}
