import CZlib

/// The parameters of raw deflate streams in images. Spec: qcow2.txt, byte 104
private enum Parameters {
    /// A window of 2^12 bytes; negative: no header.
    static let windowBits: Int32 = -12
    /// More memory for a better and faster search.
    static let memoryLevel: Int32 = 9
}

/// A deflate state.
final class ZlibEncoder: BlockEncoder, @unchecked Sendable {
    // Unchecked: the pool lends it to one call at a time.
    private let stream: UnsafeMutablePointer<z_stream>

    /// Nil where there is no memory.
    init?() {
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        let result = deflateInit2_(
            stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, Parameters.windowBits, Parameters.memoryLevel,
            Z_DEFAULT_STRATEGY, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
        guard result == Z_OK else {
            stream.deallocate()
            return nil
        }
    }

    deinit {
        deflateEnd(stream)
        stream.deallocate()
    }

    func encode(_ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer) -> Int? {
        deflateReset(stream)
        guard stream.set(input, output), deflate(stream, Z_FINISH) == Z_STREAM_END else { return nil }
        return output.count - Int(stream.pointee.avail_out)
    }
}

/// An inflate state.
final class ZlibDecoder: BlockDecoder, @unchecked Sendable {
    // Unchecked: the pool lends it to one call at a time.
    private let stream: UnsafeMutablePointer<z_stream>

    /// Nil where there is no memory.
    init?() {
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        let size = Int32(MemoryLayout<z_stream>.size)
        guard inflateInit2_(stream, Parameters.windowBits, ZLIB_VERSION, size) == Z_OK else {
            stream.deallocate()
            return nil
        }
    }

    deinit {
        inflateEnd(stream)
        stream.deallocate()
    }

    func decode(_ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer) -> Bool {
        inflateReset(stream)
        guard stream.set(input, output) else { return false }
        let result = inflate(stream, Z_FINISH)
        guard result == Z_STREAM_END || result == Z_BUF_ERROR else { return false }
        return stream.pointee.avail_out == 0
    }
}

extension UnsafeMutablePointer<z_stream> {
    /// Points the stream to its input and output; false where one is too large for the library.
    fileprivate func set(_ input: UnsafeRawBufferPointer, _ output: UnsafeMutableRawBufferPointer) -> Bool {
        guard let available = UInt32(exactly: input.count), let space = UInt32(exactly: output.count) else {
            return false
        }
        // The library does not write to its input; its pointer type says so only where ZLIB_CONST is defined.
        pointee.next_in = UnsafeMutablePointer<UInt8>(mutating: input.bindMemory(to: UInt8.self).baseAddress)
        pointee.avail_in = available
        pointee.next_out = output.bindMemory(to: UInt8.self).baseAddress
        pointee.avail_out = space
        return true
    }
}
