import CZstd

/// A zstd compression context.
final class ZstdEncoder: BlockEncoder, @unchecked Sendable {
    // Unchecked: the pool lends it to one call at a time.
    private let context: OpaquePointer

    /// Nil where there is no memory.
    init?() {
        guard let context = ZSTD_createCCtx() else { return nil }
        self.context = context
    }

    deinit { ZSTD_freeCCtx(context) }

    func encode(_ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer) -> Int? {
        // The streaming interface fills the output to its last byte; the other one wants room to spare.
        ZSTD_CCtx_reset(context, ZSTD_reset_session_only)
        var source = ZSTD_inBuffer(src: input.baseAddress, size: input.count, pos: 0)
        var target = ZSTD_outBuffer(dst: output.baseAddress, size: output.count, pos: 0)
        return ZSTD_compressStream2(context, &target, &source, ZSTD_e_end) == 0 ? target.pos : nil
    }
}

/// A zstd decompression context.
final class ZstdDecoder: BlockDecoder, @unchecked Sendable {
    // Unchecked: the pool lends it to one call at a time.
    private let context: OpaquePointer

    /// Nil where there is no memory.
    init?() {
        guard let context = ZSTD_createDCtx() else { return nil }
        self.context = context
    }

    deinit { ZSTD_freeDCtx(context) }

    func decode(_ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer) -> Bool {
        var input = input
        var output = output
        while !output.isEmpty {
            // Where the frame ends is not stored. Whole frames are decoded right into the output, which serves as their
            // window: whatever window a frame asks for, no memory is taken for it.
            let frameSize = ZSTD_findFrameCompressedSize(input.baseAddress, input.count)
            guard ZSTD_isError(frameSize) == 0, frameSize > 0, frameSize <= input.count else { return false }
            let count = ZSTD_decompressDCtx(
                context, output.baseAddress, output.count, input.baseAddress, frameSize)
            guard ZSTD_isError(count) == 0, count <= output.count else { return false }
            input = UnsafeRawBufferPointer(rebasing: input[frameSize...])
            output = UnsafeMutableRawBufferPointer(rebasing: output[count...])
        }
        return true
    }
}
