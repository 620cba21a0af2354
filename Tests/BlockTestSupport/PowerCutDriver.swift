import BlockGraph
import IOLoop
import Synchronization

/// A growing disk in memory that keeps a journal of all that reaches it, and tells what could be left of it after the
/// power was cut at some moment.
///
/// What is certain after a cut: the changes that had returned before a flush began that returned before the cut. Of all
/// other changes that had begun, each sector of 512 bytes may have arrived or not, in any combination that keeps the order of
/// the changes of one sector.
public final class PowerCutDriver: BlockDriver {
    /// A moment: the number of the event in the journal that comes next.
    public typealias Moment = Int

    private struct Change {
        let range: ByteRange
        /// The bytes; nil for zeroes.
        let bytes: [UInt8]?
        /// The new length of the disk, for a change of it.
        let newLength: Int64?
        let begin: Moment
        var end: Moment?
    }

    private struct Flush {
        let begin: Moment
        var end: Moment?
    }

    private struct State {
        var bytes: [UInt8]
        var now: Moment = 0
        var changes: [Change] = []
        var flushes: [Flush] = []

        mutating func tick() -> Moment {
            now += 1
            return now
        }

        mutating func begin(_ range: ByteRange, _ bytes: [UInt8]?, newLength: Int64? = nil) -> Int {
            changes.append(Change(range: range, bytes: bytes, newLength: newLength, begin: tick(), end: nil))
            return changes.count - 1
        }

        mutating func finish(_ index: Int) {
            PowerCutDriver.apply(changes[index], to: &bytes)
            changes[index].end = tick()
        }
    }

    private static let sectorSize: Int64 = 512
    private let initial: [UInt8]
    private let state: Mutex<State>

    /// A disk that holds the bytes, all of them safe.
    public init(_ bytes: [UInt8]) {
        initial = bytes
        state = Mutex(State(bytes: bytes))
    }

    public var driverName: String { "memory" }
    public var isProtocol: Bool { true }
    public var length: Int64 { state.withLock { Int64($0.bytes.count) } }
    public var limits: BlockLimits { BlockLimits() }
    public var supportedZeroFlags: WriteFlags { [.mayUnmap, .noFallback] }

    // MARK: What is left

    /// The present moment. Later than all that has happened; no two calls return the same.
    public func mark() -> Moment { state.withLock { $0.tick() } }

    /// The disk's bytes, as if the power had not been cut.
    public var bytes: [UInt8] { state.withLock { $0.bytes } }

    /// What could be on the disk when the power is cut at the moment; `generator` decides on what is not certain.
    public func bytes(afterCutAt moment: Moment, using generator: inout some RandomNumberGenerator) -> [UInt8] {
        let (changes, flushes) = state.withLock { ($0.changes, $0.flushes) }
        let safeUntil = flushes.filter { flush in flush.end.map { $0 <= moment } ?? false }.map(\.begin).max() ?? 0
        // How likely an uncertain sector is to arrive: sometimes nearly none, sometimes nearly all.
        let likelihood = Int.random(in: 0...100, using: &generator)
        let isTorn = Bool.random(using: &generator)
        var result = initial
        let begun = changes.filter { $0.begin <= moment }
        // Changes of one sector arrive in the order in which they returned; those under way come last.
        for change in begun.sorted(by: { ($0.end ?? .max, $0.begin) < ($1.end ?? .max, $1.begin) }) {
            if let end = change.end, end <= safeUntil {
                Self.apply(change, to: &result)
            } else if change.newLength == nil, isTorn {
                applySectors(of: change, to: &result) { Int.random(in: 0..<100, using: &generator) < likelihood }
            } else if Int.random(in: 0..<100, using: &generator) < likelihood {
                Self.apply(change, to: &result)
            }
        }
        return result
    }

    private func applySectors(of change: Change, to bytes: inout [UInt8], arrives: () -> Bool) {
        var start = change.range.lowerBound
        while start < change.range.upperBound {
            let end = min((start / Self.sectorSize + 1) * Self.sectorSize, change.range.upperBound)
            if arrives() {
                let part = change.bytes.map { all in
                    Array(all[Int(start - change.range.lowerBound)..<Int(end - change.range.lowerBound)])
                }
                Self.apply(Change(range: start..<end, bytes: part, newLength: nil, begin: 0, end: nil), to: &bytes)
            }
            start = end
        }
    }

    private static func apply(_ change: Change, to bytes: inout [UInt8]) {
        if let length = change.newLength {
            if length < bytes.count { bytes.removeLast(bytes.count - Int(length)) }
            bytes += [UInt8](repeating: 0, count: Int(length) - bytes.count)
            return
        }
        let (start, end) = (Int(change.range.lowerBound), Int(change.range.upperBound))
        if end > bytes.count { bytes += [UInt8](repeating: 0, count: end - bytes.count) }
        if let new = change.bytes {
            bytes.replaceSubrange(start..<end, with: new)
        } else {
            for index in start..<end { bytes[index] = 0 }
        }
    }

    // MARK: I/O

    public func read(_ range: ByteRange, into buffer: IOBuffer) async throws(Errno) {
        await Task.yield()
        state.withLock { state in
            let start = min(Int(range.lowerBound), state.bytes.count)
            let end = min(Int(range.upperBound), state.bytes.count)
            buffer.bytes.copyBytes(from: state.bytes[start..<end])
            buffer[end - start..<buffer.count].fill(0)
        }
    }

    public func write(_ range: ByteRange, from buffer: IOBuffer, flags: WriteFlags) async throws(Errno) {
        await change(range, Array(buffer.bytes))
    }

    public func writeZeroes(_ range: ByteRange, flags: WriteFlags) async throws(Errno) { await change(range, nil) }

    public func discard(_ range: ByteRange) async throws(Errno) {
        await change(range.clamped(to: 0..<max(length, range.lowerBound)), nil)
    }

    public func flush() async throws(Errno) {
        let index = state.withLock { state in
            state.flushes.append(Flush(begin: state.tick(), end: nil))
            return state.flushes.count - 1
        }
        await Task.yield()
        state.withLock { $0.flushes[index].end = $0.tick() }
    }

    public func blockStatus(_ range: ByteRange, precision: BlockStatusPrecision) async throws(Errno) -> BlockStatus {
        BlockStatus(length: range.length, isData: true, isAllocated: true, hostOffset: range.lowerBound)
    }

    private func change(_ range: ByteRange, _ bytes: [UInt8]?) async {
        let index = state.withLock { $0.begin(range, bytes) }
        await Task.yield()
        state.withLock { $0.finish(index) }
    }

    // MARK: Control

    @GraphActor public func filename(of node: BlockNode) -> String { "memory" }

    @GraphActor public func resize(to length: Int64, exact: Bool, preallocation: Preallocation) async throws(BlockError)
    {
        state.withLock { state in
            let index = state.begin(0..<0, nil, newLength: length)
            state.finish(index)
        }
    }
}
