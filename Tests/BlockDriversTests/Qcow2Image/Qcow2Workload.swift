import BlockDrivers
import BlockGraph
import BlockTestSupport
import Glibc
import IOLoop
import Qcow2Format
import StorageTestSupport
import Synchronization

/// Random changes of tables, and what the image must contain after them.
///
/// Each change of a guest cluster has a version, which the data tells: the cluster's number and the version, over and over.
final class Qcow2Workload: Sendable {
    /// What a guest cluster was made at a time: a version, or nil for unallocated.
    struct Change: Equatable, Sendable {
        let version: UInt64?
    }

    private struct State {
        var histories: [[Change]]
        /// For each commit that ended well: the length of each history when it began.
        var commits: [[Int]] = []
        var lastVersion: UInt64 = 0
    }

    private let state: Mutex<State>
    let clusterCount: Int
    let compresses: Bool

    init(clusterCount: Int, compresses: Bool) {
        self.clusterCount = clusterCount
        self.compresses = compresses
        state = Mutex(State(histories: Array(repeating: [Change(version: nil)], count: clusterCount)))
    }

    /// What each guest cluster was made over time.
    var histories: [[Change]] { state.withLock { $0.histories } }
    var commits: [[Int]] { state.withLock { $0.commits } }

    private func newVersion() -> UInt64 {
        state.withLock { state in
            state.lastVersion += 1
            return state.lastVersion
        }
    }

    private func note(_ cluster: Int, _ version: UInt64?) {
        state.withLock { $0.histories[cluster].append(Change(version: version)) }
    }

    static func data(_ cluster: Int, _ version: UInt64, count: Int) -> [UInt8] {
        let unit = (0..<16).map { index in
            UInt8(truncatingIfNeeded: (index < 8 ? UInt64(cluster) : version) >> UInt64(index % 8 * 8))
        }
        var bytes: [UInt8] = []
        while bytes.count < count { bytes += bytes.isEmpty ? unit : bytes }
        return Array(bytes.prefix(count))
    }

    // MARK: Running

    /// Does random steps on the guest clusters that leave the remainder `lane` when divided by `laneCount`. What fails
    /// leaves everything as it was. Returns the number of steps that failed.
    func run(
        _ rig: Qcow2Rig, _ disk: RecordingDisk, steps: Int, seed: UInt64, lane: Int = 0, laneCount: Int = 1
    ) async -> Int {
        var random = SeededGenerator(seed: seed)
        var failures = 0
        for _ in 0..<steps {
            let cluster = Int.random(in: 0..<clusterCount / laneCount, using: &random) * laneCount + lane
            do throws(Errno) {
                switch Int.random(in: 0..<12, using: &random) {
                case 0, 1: try await drop(rig, cluster)
                case 2: try await commit(rig.image, disk)
                case 3...5 where compresses:
                    try await putCompressed(rig, cluster, count: Int.random(in: 16..<rig.clusterSize, using: &random))
                default: try await put(rig, cluster)
                }
            } catch {
                failures += 1
            }
        }
        return failures
    }

    func commit(_ image: Qcow2Image, _ disk: RecordingDisk) async throws(Errno) {
        let lengths = state.withLock { $0.histories.map(\.count) }
        try await image.commit()
        state.withLock { state in
            state.commits.append(lengths)
            disk.mark(state.commits.count - 1)
        }
    }

    private func put(_ rig: Qcow2Rig, _ cluster: Int) async throws(Errno) {
        let version = newVersion()
        let epoch = rig.image.beginRequest()
        defer { rig.image.endRequest(epoch) }
        let range = try await rig.image.allocateClusters(atMost: 1)
        do throws(Errno) {
            try await rig.image.checkOverlap(of: range)
            try await rig.file.write(Self.data(cluster, version, count: rig.clusterSize), at: range.lowerBound)
            let new = L2Entry(
                hostOffset: range.lowerBound, isCopied: true,
                subclusters: rig.image.geometry.hasSubclusters ? 0xFFFF_FFFF : 0)
            try await set(rig, cluster, new, version)
        } catch {
            rig.image.abandon(range)
            throw error
        }
    }

    private func putCompressed(_ rig: Qcow2Rig, _ cluster: Int, count: Int) async throws(Errno) {
        let version = newVersion()
        let epoch = rig.image.beginRequest()
        defer { rig.image.endRequest(epoch) }
        let offset = try await rig.image.allocateBytes(count)
        do throws(Errno) {
            try await rig.image.checkOverlap(of: offset..<offset + Int64(count))
            try await rig.file.write(Self.data(cluster, version, count: count), at: offset)
            let sectors = (offset + Int64(count) - 1) / 512 - offset / 512
            let raw = UInt64(1) << 62 | UInt64(sectors) << UInt64(70 - rig.image.geometry.clusterBits) | UInt64(offset)
            try await set(rig, cluster, L2Entry(rawValue: raw), version)
        } catch {
            rig.image.abandon(offset..<offset + Int64(count))
            throw error
        }
    }

    private func drop(_ rig: Qcow2Rig, _ cluster: Int) async throws(Errno) {
        let epoch = rig.image.beginRequest()
        defer { rig.image.endRequest(epoch) }
        try await set(rig, cluster, L2Entry(), nil)
    }

    /// Sets an entry and releases what the old one referred to.
    private func set(_ rig: Qcow2Rig, _ cluster: Int, _ new: L2Entry, _ version: UInt64?) async throws(Errno) {
        let offset = Int64(cluster) * Int64(rig.clusterSize)
        let old = try await rig.image.changeEntries(at: offset) { (slice) throws(Errno) -> L2Entry in
            let index = slice.index(of: offset)
            defer { slice[index] = new }
            note(cluster, version)
            return slice[index]
        }
        if old.isCompressed {
            let extent = Qcow2ImageBytes.compressedExtent(old.rawValue, clusterBits: rig.image.geometry.clusterBits)
            rig.image.release(Int64(extent.lowerBound)..<Int64(extent.upperBound), reason: .other)
        } else if old.hostOffset != 0 {
            rig.image.release(old.hostOffset..<old.hostOffset + Int64(rig.clusterSize), reason: .other)
        }
    }

    // MARK: Looking

    /// What is wrong with an image whose guest clusters may have any state from these places of their histories on.
    func problems(_ image: Qcow2ImageBytes, since places: [Int], until ends: [Int]? = nil) -> [String] {
        let histories = histories
        return (0..<clusterCount).compactMap { cluster in
            let history = histories[cluster]
            let allowed = history[max(0, places[cluster] - 1)..<(ends?[cluster] ?? history.count)]
            switch found(image, cluster) {
            case .some(let change) where allowed.contains(change): return nil
            case .some(let change): return "guest cluster \(cluster) is \(change), not one of \(allowed)"
            case .none: return "guest cluster \(cluster) has other data"
            }
        }
    }

    /// The version that an image has of a guest cluster; nil where its data is not that of one.
    private func found(_ image: Qcow2ImageBytes, _ cluster: Int) -> Change? {
        guard let (entry, _) = image.entry(cluster), entry != 0 else { return Change(version: nil) }
        let isCompressed = entry >> 62 & 1 == 1
        let place =
            isCompressed
            ? image.compressedExtent(entry).lowerBound : Int(entry & 0x00FF_FFFF_FFFF_FE00)
        guard place + 16 <= image.bytes.count else { return nil }
        let count = isCompressed ? 16 : image.clusterSize
        guard place + count <= image.bytes.count else { return nil }
        return image.bytes.withUnsafeBytes { bytes in
            let number = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: place, as: UInt64.self))
            let version = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: place + 8, as: UInt64.self))
            guard let base = bytes.baseAddress, number == UInt64(cluster),
                memcmp(base + place, base + place + 16, count - 16) == 0
            else { return nil }
            return Change(version: version)
        }
    }
}

extension Qcow2Rig {
    nonisolated var clusterSize: Int { Int(image.geometry.clusterSize) }
}
