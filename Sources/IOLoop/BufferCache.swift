import Glibc
import Synchronization

/// Buffers of the shared pool that one loop keeps for itself, so that its requests need no lock and share no memory with those of
/// other loops. On the loop's thread only, but for the count.
final class BufferCache: Sendable {
    /// The most bytes that a loop keeps; what comes back beyond that goes to the shared pool.
    static let keptLimit = 8 << 20

    private struct State: ~Copyable {
        /// The first free buffer of each size. A free buffer begins with the address of the next one.
        var first: [UnsafeMutableRawPointer?]
        var keptBytes = 0
    }

    @exclusivity(unchecked) private nonisolated(unsafe) var state: State
    /// Buffers taken less buffers given back on this loop. Written on the loop's thread only.
    private let balance = Atomic<Int>(0)

    init(classes: Int) { state = State(first: Array(repeating: nil, count: classes)) }

    deinit { freeAll() }

    /// Bytes that are kept.
    var keptBytes: Int { state.keptBytes }

    /// Gives all that is kept back to the system.
    func freeAll() {
        for index in state.first.indices {
            while let memory = state.first[index] {
                state.first[index] = memory.load(as: UnsafeMutableRawPointer?.self)
                free(memory)
            }
        }
        state.keptBytes = 0
    }

    /// What the loop has to do with buffers in use; negative where it gave back those of others.
    var liveCount: Int { balance.load(ordering: .relaxed) }

    /// Counts a buffer that is taken, or given back.
    @inline(__always)
    func count(_ difference: Int) {
        balance.store(balance.load(ordering: .relaxed) + difference, ordering: .relaxed)
    }

    /// A buffer of the class, which has so many bytes; nil where there is none.
    @inline(__always)
    func take(_ index: Int, bytes: Int) -> UnsafeMutableRawPointer? {
        guard let memory = state.first[index] else { return nil }
        state.first[index] = memory.load(as: UnsafeMutableRawPointer?.self)
        state.keptBytes -= bytes
        return memory
    }

    /// Keeps a buffer of the class; false where there are enough.
    @inline(__always)
    func give(_ memory: UnsafeMutableRawPointer, _ index: Int, bytes: Int) -> Bool {
        guard state.keptBytes + bytes <= Self.keptLimit else { return false }
        memory.storeBytes(of: state.first[index], as: UnsafeMutableRawPointer?.self)
        state.first[index] = memory
        state.keptBytes += bytes
        return true
    }
}
