import Glibc

/// How soon a request is wanted: a hint, which travels with its memory.
public enum IOUrgency: UInt8, Sendable {
    /// As soon as others.
    case usual
    /// At once: somebody waits for this short request, and not for many others.
    case prompt
    /// When others have had their turn: nobody waits for it.
    case background
}

/// Memory of an I/O request: borrowed from its owner and valid until the call that got it returns.
/// Reads fill it; writes leave it unmodified by convention.
public struct IOBuffer: @unchecked Sendable {
    // Unchecked: a pointer travels with a request through tasks, and only one layer at a time touches the memory.

    /// The first byte.
    public let base: UnsafeMutableRawPointer
    /// How many bytes there are; at least 0.
    public let count: Int
    /// How soon the request is wanted.
    public var urgency: IOUrgency

    /// A buffer of `count` bytes from `base`.
    @inlinable
    public init(base: UnsafeMutableRawPointer, count: Int, urgency: IOUrgency = .usual) {
        precondition(count >= 0, "an I/O buffer cannot have a negative size")
        self.base = base
        self.count = count
        self.urgency = urgency
    }

    /// A buffer over all bytes of `bytes`, which may be empty.
    @inlinable
    public init(_ bytes: UnsafeMutableRawBufferPointer) {
        self.init(base: bytes.baseAddress ?? IOBuffer.nowhere, count: bytes.count)
    }

    /// A buffer over all bytes of `bytes`, to write from only.
    @inlinable
    public init(_ bytes: UnsafeRawBufferPointer) {
        self.init(UnsafeMutableRawBufferPointer(mutating: bytes))
    }

    /// An aligned address that an empty buffer can carry.
    @usableFromInline
    nonisolated(unsafe) static let nowhere = UnsafeMutableRawPointer.allocate(byteCount: 16, alignment: 4096)

    /// The bytes, for reading and writing them in place.
    @inlinable
    public var bytes: UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(start: base, count: count)
    }

    /// The part of the buffer at `range`, whose bounds count from the buffer's first byte and lie within it.
    @inlinable
    public subscript(range: Range<Int>) -> IOBuffer {
        precondition(range.lowerBound >= 0 && range.upperBound <= count, "slice outside of the I/O buffer")
        return IOBuffer(base: base + range.lowerBound, count: range.count, urgency: urgency)
    }

    /// The part of the buffer from `range.lowerBound` to its end.
    @inlinable
    public subscript(range: PartialRangeFrom<Int>) -> IOBuffer { self[range.lowerBound..<count] }

    /// The first `range.upperBound` bytes of the buffer.
    @inlinable
    public subscript(range: PartialRangeUpTo<Int>) -> IOBuffer { self[0..<range.upperBound] }

    /// Whether all bytes are zero; true of an empty buffer.
    public var isZero: Bool {
        guard count >= 16 else { return bytes.allSatisfy { $0 == 0 } }
        let first = base.loadUnaligned(as: UInt64.self) | base.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
        // Equal to itself moved by 16 bytes, and the first 16 are zero: so all are.
        return first == 0 && memcmp(base, base + 16, count - 16) == 0
    }

    /// Sets every byte to `value`.
    @inlinable
    public func fill(_ value: UInt8) {
        memset(base, Int32(value), count)
    }

    /// Copies all bytes of `source`, which is of the same size and may overlap, into this buffer.
    @inlinable
    public func copy(from source: IOBuffer) {
        precondition(source.count == count, "copying between I/O buffers of different sizes")
        memmove(base, source.base, count)
    }

    /// Whether both buffers hold the same bytes.
    @inlinable
    public func hasSameBytes(as other: IOBuffer) -> Bool {
        count == other.count && memcmp(base, other.base, count) == 0
    }
}
