import Qcow2Format
import Testing

/// The header: fields at their offsets, round trips, and what is refused in which words.
@Suite struct HeaderTests {
    static func header() -> Qcow2Header {
        var header = Qcow2Header(version: 3, clusterBits: 16, virtualSize: 64 << 20)
        header.l1Size = 1
        header.l1TableOffset = 0x30000
        header.refcountTableOffset = 0x10000
        header.refcountTableClusters = 1
        header.featureNames = Qcow2FeatureName.known
        return header
    }

    @Test func `each field is at its offset`() throws {
        var header = Self.header()
        header.version = 3
        header.snapshotCount = 5
        header.snapshotsOffset = 0x50000
        header.incompatibleFeatures = [.dirty, .compression]
        header.compatibleFeatures = .init(rawValue: 0x1_0000_0001)
        header.autoclearFeatures = .init(rawValue: 1 << 63)
        header.refcountOrder = 6
        header.compressionType = .zstd
        header.backingFileName = "base.raw"
        let bytes = try header.encoded()
        func number(_ offset: Int, _ size: Int) -> UInt64 {
            bytes[offset..<offset + size].reduce(0) { $0 << 8 | UInt64($1) }
        }
        let expected: [(Int, Int, UInt64)] = [
            (0, 4, 0x5146_49fb), (4, 4, 3), (8, 8, 0x200), (16, 4, 8), (20, 4, 16), (24, 8, 64 << 20), (32, 4, 0),
            (36, 4, 1), (40, 8, 0x30000), (48, 8, 0x10000), (56, 4, 1), (60, 4, 5), (64, 8, 0x50000), (72, 8, 9),
            (80, 8, 0x1_0000_0001), (88, 8, 1 << 63), (96, 4, 6), (100, 4, 112), (104, 1, 1), (105, 7, 0),
            (112, 4, 0x6803_f857), (116, 4, 0x180), (120, 2, 0),
        ]
        for (offset, size, value) in expected {
            #expect(number(offset, size) == value, "offset \(offset)")
        }
        #expect(Array(bytes.suffix(8)) == Array("base.raw".utf8))
        #expect(try Qcow2Header(parsing: bytes) == header)
    }

    @Test func `a header that does not fit its cluster is not encoded`() throws {
        var header = Qcow2Header(version: 3, clusterBits: 9, virtualSize: 0)
        header.refcountTableClusters = 1
        header.backingFileName = String(repeating: "x", count: 512 - 112 - 8)
        #expect(try header.encoded().count == 512)
        header.backingFileName?.append("x")
        #expect(throws: Qcow2FormatError.self) { try header.encoded() }
    }
}
