import Glibc
import Synchronization

/// Page-aligned buffers by size, kept for reuse, so that the steady state does not allocate.
///
/// Sizes are rounded up to a power of two of at least 4096 bytes. The pool keeps at most `keptLimit` bytes; what
/// comes back beyond that, and buffers above 8 MiB, go back to the system. Of the shared pool, each loop keeps up to 8 MiB for
/// itself besides. A loop that has had nothing to do for a second frees what is kept.
public final class BufferPool: Sendable {
    /// The pool of the process.
    public static let shared = BufferPool()

    /// The number of sizes.
    static let classCount = largestShift - smallestShift + 1

    /// The alignment of every buffer.
    public static let alignment = 4096

    private static let smallestShift = 12
    private static let largestShift = 23

    private struct State: ~Copyable {
        var classes: [[UnsafeMutableRawPointer]]
        var keptBytes = 0
        var live = 0
        /// Those of the loops that live, of the shared pool.
        var caches: [BufferCache] = []
    }

    private let keptLimit: Int
    private let state: Mutex<State>

    /// A pool that keeps at most `keptLimit` bytes of buffers that are not in use.
    public init(keptLimit: Int = 64 << 20) {
        self.keptLimit = keptLimit
        nonisolated(unsafe) let empty = [[UnsafeMutableRawPointer]](repeating: [], count: Self.classCount)
        state = Mutex(State(classes: empty))
    }

    deinit {
        state.withLock { state in
            for kept in state.classes { for memory in kept { free(memory) } }
        }
    }

    /// Buffers taken and not given back. Exact while nothing is taken or given back.
    public var liveCount: Int { state.withLock { $0.caches.reduce($0.live) { $0 + $1.liveCount } } }

    /// Bytes that are kept for reuse, without those that loops keep for themselves.
    public var keptBytes: Int { state.withLock { $0.keptBytes } }

    /// A buffer of `count` bytes with unspecified contents. Give it back with `give(_:)`.
    public func take(count: Int) -> IOBuffer {
        let shift = BufferPool.shift(count)
        let cache = localCache
        if let cache {
            cache.count(1)
            if shift <= BufferPool.largestShift,
                let memory = cache.take(shift - BufferPool.smallestShift, bytes: 1 << shift)
            {
                return IOBuffer(base: memory, count: count)
            }
        }
        let kept: UInt = state.withLock { state in
            if cache == nil { state.live += 1 }
            guard shift <= BufferPool.largestShift,
                let memory = state.classes[shift - BufferPool.smallestShift].popLast()
            else { return 0 }
            state.keptBytes -= 1 << shift
            return UInt(bitPattern: memory)
        }
        if let memory = UnsafeMutableRawPointer(bitPattern: kept) { return IOBuffer(base: memory, count: count) }
        var fresh: UnsafeMutableRawPointer?
        guard posix_memalign(&fresh, BufferPool.alignment, 1 << shift) == 0, let fresh else {
            fatalError("out of memory: an I/O buffer of \(count) bytes")
        }
        return IOBuffer(base: fresh, count: count)
    }

    /// Takes back a buffer exactly as `take(count:)` returned it, not a slice of it; nothing may touch it afterwards.
    public func give(_ buffer: IOBuffer) {
        let shift = BufferPool.shift(buffer.count)
        let cache = localCache
        if let cache {
            cache.count(-1)
            if shift <= BufferPool.largestShift,
                cache.give(buffer.base, shift - BufferPool.smallestShift, bytes: 1 << shift)
            {
                return
            }
        }
        let address = UInt(bitPattern: buffer.base)
        let isKept = state.withLock { state in
            if cache == nil { state.live -= 1 }
            guard shift <= BufferPool.largestShift, state.keptBytes + (1 << shift) <= keptLimit,
                let memory = UnsafeMutableRawPointer(bitPattern: address)
            else { return false }
            state.keptBytes += 1 << shift
            state.classes[shift - BufferPool.smallestShift].append(memory)
            return true
        }
        if !isKept { free(buffer.base) }
    }

    /// What the loop of the calling thread keeps for itself of the shared pool.
    @inline(__always)
    private var localCache: BufferCache? { self === BufferPool.shared ? IOLoop.current?.buffers : nil }

    /// Gives all that is kept back to the system, without what loops keep for themselves.
    func freeKept() {
        let kept = state.withLock { state in
            var addresses: [UInt] = []
            for index in state.classes.indices {
                addresses += state.classes[index].map { UInt(bitPattern: $0) }
                state.classes[index] = []
            }
            state.keptBytes = 0
            return addresses
        }
        // Not under the lock: the system takes its time.
        for address in kept { free(UnsafeMutableRawPointer(bitPattern: address)) }
    }

    /// Makes what a new loop keeps for itself.
    func makeCache() -> BufferCache {
        let cache = BufferCache(classes: Self.classCount)
        state.withLock { $0.caches.append(cache) }
        return cache
    }

    /// Takes back what a loop kept for itself, which is over.
    func retire(_ cache: BufferCache) {
        state.withLock { state in
            state.live += cache.liveCount
            state.caches.removeAll { $0 === cache }
        }
    }

    /// Calls `body` with a buffer of `count` bytes with unspecified contents, which is gone when it returns.
    public func withBuffer<Result, Failure: Error>(
        count: Int, _ body: (IOBuffer) async throws(Failure) -> Result
    ) async throws(Failure) -> Result {
        let buffer = take(count: count)
        defer { give(buffer) }
        return try await body(buffer)
    }

    /// The power of two that holds `count` bytes.
    private static func shift(_ count: Int) -> Int {
        precondition(count >= 0, "an I/O buffer cannot have a negative size")
        guard count > 1 << smallestShift else { return smallestShift }
        return Int.bitWidth - (count - 1).leadingZeroBitCount
    }
}
