import IOLoop
import Synchronization

/// What a guest did to a disk and when, sector by sector, to tell which contents are allowed after a power cut.
///
/// A sector may hold what any write put there that had begun before the cut, unless a later write (one that began after it had
/// returned) was made durable by a flush that had returned.
public final class SectorHistory: Sendable {
    /// The bytes of a sector.
    public static let sectorSize = 512

    private struct Entry {
        let stamp: UInt32
        let begin: PowerCutDriver.Moment
        var end: PowerCutDriver.Moment?
        /// Whether what was there before may come back: a discard.
        let isDiscard: Bool
    }

    private struct State {
        var sectors: [[Entry]]
        var flushes: [(begin: PowerCutDriver.Moment, end: PowerCutDriver.Moment)] = []
        var lastStamp: UInt32
    }

    private let state: Mutex<State>

    /// A disk whose sectors hold the stamps.
    public init(stamps: [UInt32]) {
        let last = stamps.max() ?? 0
        state = Mutex(
            State(sectors: stamps.map { [Entry(stamp: $0, begin: 0, end: 0, isDiscard: false)] }, lastStamp: last))
    }

    /// A stamp that no write had yet.
    public func newStamp() -> UInt32 {
        state.withLock { state in
            state.lastStamp += 1
            return state.lastStamp
        }
    }

    /// A write of the stamp to the sectors begins; stamp 0 for zeroes.
    public func begin(_ sectors: Range<Int>, stamp: UInt32, at moment: PowerCutDriver.Moment, isDiscard: Bool = false) {
        state.withLock { state in
            for sector in sectors {
                state.sectors[sector].append(Entry(stamp: stamp, begin: moment, end: nil, isDiscard: isDiscard))
            }
        }
    }

    /// The write that began at `beginning` has returned.
    public func end(_ sectors: Range<Int>, begunAt beginning: PowerCutDriver.Moment, at moment: PowerCutDriver.Moment) {
        state.withLock { state in
            for sector in sectors {
                guard let index = state.sectors[sector].lastIndex(where: { $0.begin == beginning }) else { continue }
                state.sectors[sector][index].end = moment
            }
        }
    }

    /// A flush has returned without error.
    public func flushed(from begin: PowerCutDriver.Moment, to end: PowerCutDriver.Moment) {
        state.withLock { $0.flushes.append((begin, end)) }
    }

    /// The sectors of `disk` that hold what they may not after a cut at the moment; in words.
    public func violations(in disk: [UInt8], afterCutAt moment: PowerCutDriver.Moment) -> [String] {
        let (sectors, flushes) = state.withLock { ($0.sectors, $0.flushes) }
        let durable = flushes.filter { $0.end <= moment }.map(\.begin).max() ?? 0
        var found: [String] = []
        for (number, entries) in sectors.enumerated() {
            let begun = entries.filter { $0.begin <= moment }
            let lastBarrier =
                begun.filter { entry in !entry.isDiscard && entry.end.map { $0 <= durable } ?? false }
                .map(\.begin).max() ?? -1
            let allowed = begun.filter { entry in entry.end.map { $0 >= lastBarrier } ?? true }.map(\.stamp)
            let start = number * Self.sectorSize
            let held = Self.stamp(of: disk[start..<start + Self.sectorSize], sector: number)
            if let held, allowed.contains(held) { continue }
            found.append("sector \(number) holds \(held.map(String.init) ?? "garbage"), allowed \(allowed)")
        }
        return found
    }

    /// What a write of the stamp puts into the sectors.
    public static func bytes(stamp: UInt32, sectors: Range<Int>) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(sectors.count * sectorSize)
        for sector in sectors {
            let word = stamp == 0 ? 0 : UInt64(stamp) << 32 | UInt64(sector)
            let eight = withUnsafeBytes(of: word.littleEndian) { Array($0) }
            for _ in 0..<sectorSize / 8 { bytes += eight }
        }
        return bytes
    }

    /// The stamp that a sector holds; nil where it was not written by one write.
    static func stamp(of bytes: ArraySlice<UInt8>, sector: Int) -> UInt32? {
        bytes.withUnsafeBytes { memory in
            let word = memory.loadUnaligned(as: UInt64.self).littleEndian
            for offset in stride(from: 8, to: sectorSize, by: 8)
            where memory.loadUnaligned(fromByteOffset: offset, as: UInt64.self).littleEndian != word { return nil }
            if word == 0 { return 0 }
            return Int(UInt32(truncatingIfNeeded: word)) == sector ? UInt32(truncatingIfNeeded: word >> 32) : nil
        }
    }
}
