import BlockGraph
import Glibc
import IOLoop

/// Compares two images run by run, as block status and data tell.
@GraphActor
struct ImageComparison {
    /// What a step has found.
    enum Result {
        /// So many bytes are equal.
        case equal(Int64)
        /// The sector at an offset, a multiple of 512, is not.
        case different(Int64)
        /// The block status is not, from an offset on.
        case differentStatus(Int64)
    }

    /// What could not be asked or read.
    struct Failure: Error {
        let backend: BlockBackend
        let offset: Int64
        let errno: Errno
        let isStatus: Bool
    }

    private static let chunkSize: Int64 = 2 << 20

    private let first: BlockBackend
    private let second: BlockBackend
    private let isStrict: Bool

    /// A comparison of two images; a strict one looks at allocation too.
    init(_ first: BlockBackend, _ second: BlockBackend, isStrict: Bool) {
        self.first = first
        self.second = second
        self.isStrict = isStrict
    }

    /// Compares a part from the start of a range, which both images have.
    func step(_ range: ByteRange) async throws(Failure) -> Result {
        let a = try await status(first, range)
        let b = try await status(second, range)
        if isStrict, !a.isSame(as: b) { return .differentStatus(range.lowerBound) }
        let length = min(a.length, b.length)
        if a.isZero, b.isZero { return .equal(length) }
        let part = range.lowerBound..<range.lowerBound + min(length, Self.chunkSize)
        if a.isZero || b.isZero { return try await stepOverData(a.isZero ? second : first, part) }
        let count = Int(part.length)
        let buffers = BufferPool.shared.take(count: 2 * count)
        defer { BufferPool.shared.give(buffers) }
        let (left, right) = (buffers[0..<count], buffers[count...])
        try await read(first, part, into: left)
        try await read(second, part, into: right)
        if left.hasSameBytes(as: right) { return .equal(part.length) }
        let place = stride(from: 0, to: count, by: 512).first { start in
            let end = min(start + 512, count)
            return !left[start..<end].hasSameBytes(as: right[start..<end])
        }
        return .different(part.lowerBound + Int64(place ?? 0))
    }

    /// Compares a part of one image from the start of a range with zeroes.
    func stepAgainstZeroes(_ backend: BlockBackend, _ range: ByteRange) async throws(Failure) -> Result {
        let run = try await status(backend, range)
        if run.isZero { return .equal(run.length) }
        return try await stepOverData(backend, range.lowerBound..<range.lowerBound + min(run.length, Self.chunkSize))
    }

    private func stepOverData(_ backend: BlockBackend, _ part: ByteRange) async throws(Failure) -> Result {
        let buffer = BufferPool.shared.take(count: Int(part.length))
        defer { BufferPool.shared.give(buffer) }
        try await read(backend, part, into: buffer)
        if buffer.isZero { return .equal(part.length) }
        let place = stride(from: 0, to: buffer.count, by: 512).first { start in
            !buffer[start..<min(start + 512, buffer.count)].isZero
        }
        return .different(part.lowerBound + Int64(place ?? 0))
    }

    private func status(_ backend: BlockBackend, _ range: ByteRange) async throws(Failure) -> BlockStatus {
        do throws(Errno) {
            var status = try await backend.blockStatusAbove(range).status
            guard status.length > 0 else { throw .EIO }
            status.length = min(status.length, range.length)
            return status
        } catch {
            throw Failure(backend: backend, offset: range.lowerBound, errno: error, isStatus: true)
        }
    }

    private func read(_ backend: BlockBackend, _ range: ByteRange, into buffer: IOBuffer) async throws(Failure) {
        do throws(Errno) {
            try await backend.read(range, into: buffer)
        } catch {
            throw Failure(backend: backend, offset: range.lowerBound, errno: error, isStatus: false)
        }
    }
}

extension BlockStatus {
    /// Whether two runs are of the same length and allocated alike.
    fileprivate func isSame(as other: BlockStatus) -> Bool {
        length == other.length && isData == other.isData && isZero == other.isZero
            && isAllocated == other.isAllocated && isCompressed == other.isCompressed
            && (hostOffset == nil) == (other.hostOffset == nil)
    }
}
