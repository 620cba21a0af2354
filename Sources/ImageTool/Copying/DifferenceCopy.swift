import BlockGraph
import IOLoop

/// Copies from an old backing image into its overlay what a new backing image does not have in the same place.
@GraphActor
struct DifferenceCopy {
    /// What could not be done.
    enum Failure: Error {
        case status(Errno)
        case readOld(Errno)
        case readNew(Errno)
        case write(Errno)
    }

    private static let chunkSize: Int64 = 2 << 20

    /// Up to where the overlay has been looked at.
    private(set) var offset: Int64 = 0

    private let overlay: BlockBackend
    private let old: BlockBackend
    private let new: BlockBackend?
    private let isCompressed: Bool
    /// The unit in which the images are compared.
    private let unit: Int64

    /// A copy that has not begun. `new` is nil where there is to be no backing image.
    init(overlay: BlockBackend, old: BlockBackend, new: BlockBackend?, isCompressed: Bool) {
        self.overlay = overlay
        self.old = old
        self.new = new
        self.isCompressed = isCompressed
        let driver = overlay.node.driver
        unit = isCompressed ? driver.clusterSize ?? 4096 : max(512, driver.limits.writeZeroesAlignment)
    }

    /// Looks at the next part, and copies of it what must be.
    mutating func step() async throws(Failure) {
        let range = offset..<min(overlay.length, (offset + 1).alignedUp(to: Self.chunkSize))
        let run: BlockStatus
        do {
            run = try await overlay.node.blockStatus(range, precision: .allocation)
        } catch {
            throw .status(error)
        }
        guard run.length > 0 else { throw .status(.EIO) }
        let part = offset..<min(range.upperBound, offset + run.length)
        if !run.isAllocated { try await copy(part) }
        offset = part.upperBound
    }

    private func copy(_ range: ByteRange) async throws(Failure) {
        if try await areZero(range) { return }
        let count = Int(range.length)
        let buffers = BufferPool.shared.take(count: 2 * count)
        defer { BufferPool.shared.give(buffers) }
        let (left, right) = (buffers[0..<count], buffers[count...])
        do throws(Errno) { try await read(old, range, into: left) } catch { throw .readOld(error) }
        do throws(Errno) { try await read(new, range, into: right) } catch { throw .readNew(error) }
        var start: Int64?
        var place = range.lowerBound
        while place < range.upperBound {
            let end = min(range.upperBound, (place + 1).alignedUp(to: unit))
            let part = Int(place - range.lowerBound)..<Int(end - range.lowerBound)
            if left[part].hasSameBytes(as: right[part]) {
                if let from = start { try await write(from..<place, from: left, at: range.lowerBound) }
                start = nil
            } else {
                start = start ?? place
            }
            place = end
        }
        if let from = start { try await write(from..<range.upperBound, from: left, at: range.lowerBound) }
    }

    /// Whether both backing images are known to read as zeroes.
    private func areZero(_ range: ByteRange) async throws(Failure) -> Bool {
        do throws(Errno) {
            for backend in [old, new].compactMap({ $0 }) {
                var start = range.lowerBound
                while start < min(range.upperBound, backend.length) {
                    let status = try await backend.blockStatusAbove(start..<range.upperBound).status
                    guard status.isZero, status.length > 0 else { return false }
                    start += status.length
                }
            }
            return true
        } catch {
            throw .status(error)
        }
    }

    /// Reads from an image; what lies behind its end, or in none, is zero.
    private func read(_ backend: BlockBackend?, _ range: ByteRange, into buffer: IOBuffer) async throws(Errno) {
        let end = min(range.upperBound, max(range.lowerBound, backend?.length ?? 0))
        let count = Int(end - range.lowerBound)
        buffer[count...].fill(0)
        if let backend, count > 0 { try await backend.read(range.lowerBound..<end, into: buffer[0..<count]) }
    }

    private func write(_ range: ByteRange, from buffer: IOBuffer, at start: Int64) async throws(Failure) {
        let data = buffer[Int(range.lowerBound - start)..<Int(range.upperBound - start)]
        do throws(Errno) {
            if data.isZero {
                try await overlay.writeZeroes(range)
            } else if isCompressed {
                for piece in range.pieces(ofAtMost: unit) {
                    let place = Int(piece.lowerBound - range.lowerBound)
                    try await overlay.write(
                        piece, from: data[place..<place + Int(piece.length)], flags: .compressed)
                }
            } else {
                try await overlay.write(range, from: data)
            }
        } catch {
            throw .write(error)
        }
    }
}
