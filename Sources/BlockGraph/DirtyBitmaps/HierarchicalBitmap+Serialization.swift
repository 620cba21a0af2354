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

    /// Copies a part of the serialised form, from byte number `first` on, which is a multiple of 8. What lies beyond its end
    /// becomes zero.
    public func copySerialized(from first: Int, into bytes: UnsafeMutableRawBufferPointer) {
        precondition(first % 8 == 0, "a part of a bitmap begins with a whole word")
        _ = bytes.initializeMemory(as: UInt8.self, repeating: 0)
        guard let root, first < serializedSize else { return }
        let count = min((bytes.count + 7) / 8, serializedWordCount - first / 8)
        withUnsafeTemporaryAllocation(of: UInt64.self, capacity: count) { words in
            words.update(repeating: 0)
            root.copyWords(from: first / 8, into: words)
            for index in words.indices { words[index] = words[index].littleEndian }
            bytes.copyMemory(from: UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(words).prefix(bytes.count)))
        }
    }

    /// Makes dirty what is dirty in a part of the serialised form, from byte number `first` on. Bits beyond the end of the
    /// disk are ignored.
    public mutating func mergeSerialized(_ bytes: UnsafeRawBufferPointer, at first: Int) {
        var position = 0
        while let run = Self.nextRun(in: bytes, from: position) {
            set(bits: first * 8 + run.lowerBound..<first * 8 + run.upperBound)
            position = run.upperBound
        }
    }

    /// The bytes of the disk that `count` bytes of the serialised form stand for, from byte number `first` on.
    public func diskRange(ofSerialized first: Int, count: Int) -> Range<Int64> {
        func offset(_ byte: Int) -> Int64 {
            let (bits, overflow) = Int64(byte).multipliedReportingOverflow(by: 8 * granularity)
            return overflow ? length : min(bits, length)
        }
        return offset(first)..<offset(first + count)
    }

    private mutating func set(bits: Range<Int>) {
        let bits = bits.clamped(to: 0..<bitCount)
        guard !bits.isEmpty else { return }
        let end = bits.upperBound == bitCount ? length : Int64(bits.upperBound) << Int64(granularityShift)
        set(Int64(bits.lowerBound) << Int64(granularityShift)..<end)
    }

    /// The first run of ones at or behind a bit.
    private static func nextRun(in bytes: UnsafeRawBufferPointer, from start: Int) -> Range<Int>? {
        guard let first = nextBit(in: bytes, from: start, inverted: 0) else { return nil }
        return first..<(nextBit(in: bytes, from: first, inverted: 0xFF) ?? bytes.count * 8)
    }

    /// The first bit at or behind `start` that is one, or with `inverted` zero.
    private static func nextBit(in bytes: UnsafeRawBufferPointer, from start: Int, inverted: UInt8) -> Int? {
        guard start < bytes.count * 8 else { return nil }
        var index = start / 8
        let first = (bytes[index] ^ inverted) & (0xFF << UInt8(start % 8))
        if first != 0 { return index * 8 + first.trailingZeroBitCount }
        index += 1
        let word = inverted == 0 ? 0 : UInt64.max
        while index + 8 <= bytes.count, bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self) == word {
            index += 8
        }
        while index < bytes.count {
            let byte = bytes[index] ^ inverted
            if byte != 0 { return index * 8 + byte.trailingZeroBitCount }
            index += 1
        }
        return nil
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
