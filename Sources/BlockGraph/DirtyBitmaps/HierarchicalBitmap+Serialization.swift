import CNettle

extension HierarchicalBitmap {
    /// The size in bytes of the serialised form: one bit for each granule, in whole 64-bit words, at least one.
    public var serializedSize: Int { serializedWordCount * 8 }

    /// The serialised form: granule `n` is bit `n % 8` (from the least significant) of byte `n / 8`; padded with zeroes
    /// to a multiple of 8 bytes. This is also how qcow2 stores bitmap data (Spec: qcow2.txt, "Bitmap Data").
    public func serialized() -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(serializedSize)
        forEachSerializedPiece { bytes.append(contentsOf: $0) }
        return bytes
    }

    /// The SHA-256 of the serialised form, in lower-case hexadecimal: the answer of
    /// `x-debug-block-dirty-bitmap-sha256`. Takes some seconds for very large bitmaps with fine granularity.
    public func sha256() -> String {
        var context = sha256_ctx()
        nettle_sha256_init(&context)
        forEachSerializedPiece { piece in
            nettle_sha256_update(&context, piece.count, piece.assumingMemoryBound(to: UInt8.self).baseAddress)
        }
        let digest = [UInt8](unsafeUninitializedCapacity: Int(SHA256_DIGEST_SIZE)) { buffer, count in
            nettle_sha256_digest(&context, buffer.count, buffer.baseAddress)
            count = Int(SHA256_DIGEST_SIZE)
        }
        let digits = Array("0123456789abcdef".utf8)
        let text = digest.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }
        return String(decoding: text, as: UTF8.self)
    }

    private var serializedWordCount: Int { max((bitCount - 1) >> 6 + 1, 1) }

    /// Calls `body` with the serialised form piece by piece, so that it never is in memory as a whole.
    private func forEachSerializedPiece(_ body: (UnsafeRawBufferPointer) -> Void) {
        let pieceSize = 8192
        var words = [UInt64](repeating: 0, count: min(pieceSize, serializedWordCount))
        for first in stride(from: 0, to: serializedWordCount, by: pieceSize) {
            let count = min(pieceSize, serializedWordCount - first)
            words.withUnsafeMutableBufferPointer { buffer in
                let part = UnsafeMutableBufferPointer(rebasing: buffer[..<count])
                part.update(repeating: 0)
                root?.copyWords(from: first, into: part)
                for index in part.indices { part[index] = part[index].littleEndian }
                body(UnsafeRawBufferPointer(part))
            }
        }
    }
}
