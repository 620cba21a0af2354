import Synchronization

/// Compresses and decompresses blocks of bytes with one method, from any number of threads at a time.
///
/// Each call borrows a state of the library from a small pool, so that memory is bounded by the calls under way (about
/// 300 KiB each with zlib; up to a few MiB with zstd, depending on the block) plus `idleLimit` idle states of each direction.
public final class Compressor: Sendable {
    /// The method.
    public let kind: CompressionKind

    /// The most idle states that are kept of each direction.
    static let idleLimit = 4

    private let idleEncoders = Mutex<[any BlockEncoder]>([])
    private let idleDecoders = Mutex<[any BlockDecoder]>([])

    /// A compressor without any state yet.
    public init(_ kind: CompressionKind) {
        self.kind = kind
    }

    /// Compresses all bytes of `input` into the start of `output`.
    ///
    /// - Returns: bytes written, at least 1; nil where the result does not fit, or the library had no memory. The bytes of
    ///   `output` beyond the result are unspecified.
    public func compress(_ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer) -> Int? {
        guard let encoder = idleEncoders.withLock({ $0.popLast() }) ?? makeEncoder() else { return nil }
        defer { idleEncoders.withLock { if $0.count < Self.idleLimit { $0.append(encoder) } } }
        return encoder.encode(input, into: output)
    }

    /// Decompresses a block, which may be followed by other bytes in `input`, until `output` is full.
    ///
    /// - Returns: whether all of `output` is filled. False where the input is damaged, ends early or yields less; `output`
    ///   is then unspecified. Never more memory than the output's size is taken for what damaged input asks for.
    public func decompress(_ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer) -> Bool {
        guard !output.isEmpty else { return true }
        guard !input.isEmpty, let decoder = idleDecoders.withLock({ $0.popLast() }) ?? makeDecoder() else {
            return false
        }
        defer { idleDecoders.withLock { if $0.count < Self.idleLimit { $0.append(decoder) } } }
        return decoder.decode(input, into: output)
    }

    private func makeEncoder() -> (any BlockEncoder)? {
        switch kind {
        case .zlib: ZlibEncoder()
        case .zstd: ZstdEncoder()
        }
    }

    private func makeDecoder() -> (any BlockDecoder)? {
        switch kind {
        case .zlib: ZlibDecoder()
        case .zstd: ZstdDecoder()
        }
    }
}

/// A library's state for compressing one block at a time.
protocol BlockEncoder: AnyObject, Sendable {
    /// Compresses a block; nil where the result does not fit. Leaves the state ready for the next block.
    func encode(_ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer) -> Int?
}

/// A library's state for decompressing one block at a time.
protocol BlockDecoder: AnyObject, Sendable {
    /// Decompresses a block; whether the output, which is not empty, is full. Leaves the state ready for the next block.
    func decode(_ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer) -> Bool
}
