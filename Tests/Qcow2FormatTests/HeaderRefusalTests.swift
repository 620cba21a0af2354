import Qcow2Format
import StorageTestSupport
import Testing

/// What is refused, in QEMU's words and order, and that no bytes at all make the parser trap.
@Suite struct HeaderRefusalTests {
    /// The header's cluster with some numbers changed: offset, size in bytes, value.
    static func changed(_ changes: [(Int, Int, UInt64)]) throws -> [UInt8] {
        var bytes = try HeaderTests.header().encoded()
        bytes.append(contentsOf: repeatElement(0, count: 65536 - bytes.count))
        for (offset, size, value) in changes {
            for index in 0..<size {
                bytes[offset + index] = UInt8(truncatingIfNeeded: value >> UInt64(8 * (size - 1 - index)))
            }
        }
        return bytes
    }

    static func refusal(_ changes: (Int, Int, UInt64)...) throws -> String? {
        let bytes = try changed(changes)
        do {
            _ = try Qcow2Header(parsing: bytes)
            return nil
        } catch { return error.message }
    }

    /// Observed with qemu-img 11.1 on images with these bytes.
    @Test func `single broken fields are refused in QEMU's words`() throws {
        #expect(try Self.refusal((0, 4, 1)) == "Image is not in qcow2 format")
        #expect(try Self.refusal((4, 4, 4)) == "Unsupported qcow2 version 4")
        #expect(try Self.refusal((4, 4, 0xffff_ffff)) == "Unsupported qcow2 version 4294967295")
        for bits in [0, 8, 22, 31, 32, 0xffff_ffff] as [UInt64] {
            #expect(try Self.refusal((20, 4, bits)) == "Unsupported cluster size: 2^\(bits)")
        }
        #expect(try Self.refusal((20, 4, 9)) == "L1 table is too small")
        #expect(try Self.refusal((100, 4, 103)) == "qcow2 header too short")
        #expect(try Self.refusal((100, 4, 104)) == nil)
        #expect(try Self.refusal((100, 4, 65536)) == nil)
        #expect(try Self.refusal((100, 4, 65537)) == "qcow2 header exceeds cluster size")
        #expect(try Self.refusal((100, 4, 108)) == "Header extension too large")
        #expect(
            try Self.refusal((96, 4, 7)) == "Reference count entry width too large; may not exceed 64 bits")
        #expect(try Self.refusal((72, 8, 8)) == "qcow2: Compression type incompatible feature bit must not be set")
        #expect(try Self.refusal((104, 1, 1)) == "qcow2: Compression type incompatible feature bit must be set")
        #expect(try Self.refusal((104, 1, 2)) == "qcow2: unknown compression type: 2")
        #expect(
            try Self.refusal((72, 8, 0x60)) == "Unsupported qcow2 feature(s): Unknown incompatible feature: 60")
        #expect(try Self.refusal((8, 8, 1 << 40)) == "Invalid backing file offset")
        #expect(try Self.refusal((8, 8, 1000), (16, 4, 1024)) == "Backing file name too long")
        #expect(try Self.refusal((8, 8, 1000), (16, 4, 1023)) == nil)
        #expect(try Self.refusal((8, 8, 65535), (16, 4, 2)) == "Backing file name too long")
        #expect(try Self.refusal((32, 4, 2)) == "Missing CRYPTO header for crypt method 2")
        #expect(try Self.refusal((32, 4, 3)) == "Unsupported encryption method 3")
        #expect(try Self.refusal((72, 8, 16), (20, 4, 13)) == "Unsupported subcluster size: 256")
    }

    @Test func `broken tables are refused in QEMU's words`() throws {
        #expect(try Self.refusal((24, 8, 1 << 40)) == "L1 table is too small")
        for size in [1 << 62, (1 << 63) - 1, 1 << 63] as [UInt64] {
            #expect(try Self.refusal((24, 8, size)) == "Image is too big")
        }
        #expect(
            try Self.refusal((24, 8, .max)) == "Could not refresh total sector count: File too large")
        #expect(try Self.refusal((36, 4, 0)) == "L1 table is too small")
        #expect(try Self.refusal((36, 4, 4 << 20)) == nil)
        #expect(try Self.refusal((36, 4, (4 << 20) + 1)) == "Active L1 table too large")
        #expect(try Self.refusal((40, 8, 512)) == "Active L1 table offset invalid")
        #expect(try Self.refusal((40, 8, 1 << 63)) == "Active L1 table offset invalid")
        #expect(try Self.refusal((48, 8, 1)) == "Reference count table offset invalid")
        #expect(try Self.refusal((48, 8, 0x7fff_ffff_ffff_0000)) == "Reference count table offset invalid")
        #expect(try Self.refusal((56, 4, 0)) == "Image does not contain a reference count table")
        #expect(try Self.refusal((56, 4, 128)) == nil)
        #expect(try Self.refusal((56, 4, 129)) == "Reference count table too large")
        #expect(try Self.refusal((60, 4, 65536)) == nil)
        #expect(try Self.refusal((60, 4, 65537)) == "Snapshot table too large")
        #expect(try Self.refusal((64, 8, 7)) == "Snapshot table offset invalid")
    }

    @Test func `of several broken fields QEMU's first is named`() throws {
        #expect(try Self.refusal((4, 4, 4), (100, 4, 1)) == "Unsupported qcow2 version 4")
        #expect(try Self.refusal((100, 4, 70000), (8, 8, 1 << 40)) == "qcow2 header exceeds cluster size")
        #expect(try Self.refusal((104, 1, 7), (8, 8, 1 << 40)) == "Invalid backing file offset")
        #expect(try Self.refusal((104, 1, 7), (72, 8, 32)) == "qcow2: unknown compression type: 7")
        #expect(
            try Self.refusal((96, 4, 7), (72, 8, 32))
                == "Unsupported qcow2 feature(s): Unknown incompatible feature: 20")
        #expect(try Self.refusal((96, 4, 7), (72, 8, 16), (20, 4, 12)) == "Unsupported subcluster size: 128")
        #expect(
            try Self.refusal((96, 4, 7), (32, 4, 3))
                == "Reference count entry width too large; may not exceed 64 bits")
        #expect(try Self.refusal((56, 4, 129), (48, 8, 1)) == "Reference count table too large")
        #expect(try Self.refusal((64, 8, 1), (40, 8, 1)) == "Snapshot table offset invalid")
        #expect(try Self.refusal((40, 8, 1), (24, 8, 1 << 62)) == "Active L1 table offset invalid")
        #expect(try Self.refusal((40, 8, 1), (8, 8, 1000), (16, 4, 2000)) == "Active L1 table offset invalid")
    }

    @Test func `unknown features are named by the image's own table`() throws {
        var header = HeaderTests.header()
        header.featureNames = [Qcow2FeatureName(.incompatible, bit: 5, name: "hello")]
        header.incompatibleFeatures = .init(rawValue: 0x60)
        let bytes = try header.encoded()
        #expect(
            throws: Qcow2FormatError(
                "Unsupported qcow2 feature(s): hello, Unknown incompatible feature: 40", kind: .unsupported)
        ) { try Qcow2Header(parsing: bytes) }
    }

    @Test func `broken extensions are refused in QEMU's words`() throws {
        func refusal(_ kind: Qcow2HeaderExtension.Kind, _ data: [UInt8]) throws -> String? {
            var header = HeaderTests.header()
            header.extensions = [Qcow2HeaderExtension(kind, data)]
            let bytes = try header.encoded()
            do {
                _ = try Qcow2Header(parsing: bytes)
                return nil
            } catch { return error.message }
        }
        func bitmaps(_ count: UInt32, _ size: UInt64, _ offset: UInt64) throws -> String? {
            try refusal(
                .bitmaps,
                Qcow2BitmapsExtension(bitmapCount: count, directorySize: size, directoryOffset: offset).encoded())
        }
        #expect(try refusal(.backingFormat, pattern(15)) == nil)
        #expect(try refusal(.backingFormat, pattern(16)) == "ERROR: ext_backing_format: len=16 too large (>=16)")
        #expect(try refusal(.bitmaps, pattern(23)) == "bitmaps_ext: Invalid extension length")
        #expect(try bitmaps(0, 32, 0x50000) == "found bitmaps extension with zero bitmaps")
        #expect(
            try bitmaps(65536, 32, 0x50000)
                == "bitmaps_ext: Image has 65536 bitmaps, exceeding the QEMU supported maximum of 65535")
        #expect(try bitmaps(1, 32, 512) == "bitmaps_ext: invalid bitmap directory offset")
        #expect(
            try bitmaps(1, 64 << 20, 0x50000)
                == "bitmaps_ext: bitmap directory size (67108864) exceeds the maximum supported size (67107840)")
        #expect(try bitmaps(65535, 67_107_840, 0x50000) == nil)
        #expect(
            try refusal(.encryptionHeader, pattern(16))
                == "CRYPTO header extension only expected with LUKS encryption method")
        #expect(try refusal(.init(rawValue: 0x1234_5678), pattern(1000)) == nil)
    }

    private func pattern(_ count: Int) -> [UInt8] { Array(repeating: 0x61, count: count) }

    @Test func `no bytes make the parser trap`() throws {
        let seed: UInt64 = 20_261_123
        var random = SeededGenerator(seed: seed)
        var header = HeaderTests.header()
        header.clusterBits = 12
        header.virtualSize = 1 << 20
        header.backingFileName = "base.qcow2"
        header.backingFormat = "qcow2"
        header.bitmaps = Qcow2BitmapsExtension(bitmapCount: 2, directorySize: 64, directoryOffset: 4096)
        let valid = try header.encoded()
        var accepted = 0
        for _ in 0..<100_000 {
            var bytes = valid
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let index = Int.random(in: 4..<bytes.count, using: &random)
                bytes[index] = Bool.random(using: &random) ? random.next(upperBound: UInt8(255)) : bytes[index] ^ 1
            }
            if Int.random(in: 0..<50, using: &random) == 0 {
                bytes.removeLast(Int.random(in: 0...bytes.count, using: &random))
            }
            guard let parsed = try? Qcow2Header(parsing: bytes) else { continue }
            accepted += 1
            let again = try Qcow2Header(parsing: try parsed.encoded())
            if again.encodedOrder != parsed.encodedOrder { Issue.record("seed \(seed): \(bytes)") }
        }
        #expect(accepted > 1000)
    }
}

extension Qcow2Header {
    /// This header with the extensions sorted, which encoding may reorder.
    fileprivate var encodedOrder: Qcow2Header {
        var copy = self
        copy.extensions.sort { ($0.kind.rawValue, $0.data.count) < ($1.kind.rawValue, $1.data.count) }
        return copy
    }
}
