import BlockGraph
import BlockTestSupport
import IOLoop
import StorageTestSupport

/// A guest that reads and writes its own bytes of each block of a disk, so that several of them use the same clusters.
struct ChainGuest: Sendable {
    static let block = 8192

    let backend: BlockBackend
    let number: Int
    let count: Int
    let model: Locked<[UInt8]>
    let problems: Locked<[String]>
    let isOver: Flag

    /// Works until it is over, and does at least some operations.
    func run(_ random: SeededGenerator) async {
        var random = random
        var operations = 0
        while operations < 20 || !isOver.isSet {
            operations += 1
            await operate(&random)
            await Task.yield()
        }
    }

    private func operate(_ random: inout SeededGenerator) async {
        let size = model.value.count
        let stripe = Self.block / count
        let start = Int.random(in: 0...(size / Self.block), using: &random) * Self.block + number * stripe
        let length = min(Int.random(in: 1...stripe, using: &random), size - start)
        guard length > 0 else { return }
        let range = start..<start + length
        let bytes = random.bytes(length)
        let kind = Int.random(in: 0..<8, using: &random)
        // Errors that a test makes pass; what was to be written must get there.
        for attempt in 0..<20 {
            do throws(Errno) {
                return try await operate(kind, range, bytes)
            } catch {
                if attempt == 19 { problems.withLock { $0.append("guest \(number): \(error) at \(range)") } }
            }
        }
    }

    private func operate(_ kind: Int, _ range: Range<Int>, _ bytes: [UInt8]) async throws(Errno) {
        let place = Int64(range.lowerBound)..<Int64(range.upperBound)
        switch kind {
        case 0, 1:
            try await backend.write(bytes, at: place.lowerBound)
            model.withLock { $0.replaceSubrange(range, with: bytes) }
        case 2:
            try await backend.writeZeroes(place, flags: .mayUnmap)
            model.withLock { $0.replaceSubrange(range, with: repeatElement(0, count: range.count)) }
        default:
            let found = try await backend.bytes(place)
            if found != Array(model.value[range]) {
                problems.withLock { $0.append("guest \(number) reads wrong bytes at \(range)") }
            }
        }
    }
}
