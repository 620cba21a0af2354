import Qcow2Format
import StorageTestSupport
import Testing

/// Snapshot tables and bitmap directories.
@Suite struct TableTests {
    @Test func `snapshot entries round trip`() throws {
        var random = SeededGenerator(seed: 3)
        for _ in 0..<500 {
            var entry = SnapshotTableEntry(
                id: random.bytes(Int.random(in: 0...5, using: &random)),
                name: random.bytes(Int.random(in: 0...40, using: &random)),
                l1TableOffset: Int64.random(in: 0...Int64.max, using: &random),
                l1Size: Int(UInt32.random(in: 0...UInt32.max, using: &random)))
            entry.seconds = UInt32.random(in: 0...UInt32.max, using: &random)
            entry.nanoseconds = UInt32.random(in: 0...UInt32.max, using: &random)
            entry.vmClock = random.next()
            entry.vmStateSize = random.next()
            entry.diskSize = random.next()
            entry.instructionCount = Bool.random(using: &random) ? nil : random.next() >> 1
            entry.unknownExtraData = random.bytes(Int.random(in: 0...20, using: &random))
            entry.extraDataSize = 24 + entry.unknownExtraData.count
            let bytes = try entry.encoded(virtualSize: 0)
            #expect(bytes.count % 8 == 0)
            bytes.withUnsafeBytes { bytes in
                #expect(SnapshotTableEntry.byteCount(ofEntryStartingWith: bytes) == bytes.count)
                #expect(SnapshotTableEntry(parsing: bytes) == entry)
                let cut = UnsafeRawBufferPointer(rebasing: bytes[..<(bytes.count - 8)])
                #expect(SnapshotTableEntry(parsing: cut) == nil)
            }
        }
    }

    @Test func `old snapshot entries without extra data`() throws {
        var bytes = [UInt8](repeating: 0, count: 48)
        bytes[13] = 1
        bytes[15] = 2
        bytes[35] = 9
        bytes[40...42] = [0x31, 0x61, 0x62]
        let entry = try #require(bytes.withUnsafeBytes { SnapshotTableEntry(parsing: $0) })
        #expect(entry.idText == "1" && entry.nameText == "ab")
        #expect(entry.vmStateSize == 9 && entry.diskSize == nil && entry.instructionCount == nil)
        #expect(entry.extraDataSize == 0)
    }

    @Test func `bitmap directories round trip and are checked`() throws {
        let geometry = Qcow2Geometry(clusterBits: 12)
        let size: Int64 = 1 << 30
        let count = Int(BitmapDirectoryEntry.tableSize(virtualSize: size, granularity: 65536, geometry))
        #expect(count == 1)
        let first = BitmapDirectoryEntry(
            name: Array("first".utf8), granularityBits: 16, flags: [.auto], tableOffset: 4096, tableSize: count)
        var second = first
        second.name = Array("second bitmap".utf8)
        second.flags = [.inUse]
        second.tableSize = 77
        func parse(_ entries: [BitmapDirectoryEntry], count: Int) throws -> [BitmapDirectoryEntry] {
            let bytes = try entries.flatMap { try $0.encoded() }
            return try bytes.withUnsafeBytes {
                try BitmapDirectoryEntry.directory($0, count: count, geometry: geometry, virtualSize: size)
            }
        }
        #expect(try parse([first, second], count: 2) == [first, second])
        #expect(throws: Qcow2FormatError("Less bitmaps found than specified in header extension")) {
            try parse([first], count: 2)
        }
        #expect(throws: Qcow2FormatError("More bitmaps found than specified in header extension")) {
            try parse([first, second], count: 1)
        }
        #expect(throws: Qcow2FormatError("Requested bitmap directory size is zero")) { try parse([], count: 0) }
        second.granularityBits = 8
        #expect(throws: Qcow2FormatError("Bitmap 'second bitmap' doesn't satisfy the constraints")) {
            try parse([first, second], count: 2)
        }
    }

    @Test func `bitmap table entries`() {
        let geometry = Qcow2Geometry(clusterBits: 12)
        #expect(BitmapTableEntry.allOnes.isAllOnes && BitmapTableEntry.allOnes.isValid(geometry))
        #expect(BitmapTableEntry(offset: 8192).isValid(geometry))
        #expect(!BitmapTableEntry(rawValue: 8193).isValid(geometry))
        #expect(!BitmapTableEntry(rawValue: 512).isValid(geometry))
        #expect(!BitmapTableEntry(rawValue: 2).isValid(geometry))
        #expect(!BitmapTableEntry(rawValue: 1 << 56).isValid(geometry))
    }

    @Test func `no bytes make the parsers trap`() {
        var random = SeededGenerator(seed: 5)
        let geometry = Qcow2Geometry(clusterBits: 9)
        for _ in 0..<20_000 {
            var bytes = random.bytes(Int.random(in: 0...120, using: &random))
            for index in [12, 14, 18, 20, 21, 22, 36, 37, 38] where index < bytes.count { bytes[index] &= 0 }
            bytes.withUnsafeBytes { bytes in
                _ = SnapshotTableEntry(parsing: bytes)
                _ = SnapshotTableEntry.byteCount(ofEntryStartingWith: bytes)
                _ = BitmapDirectoryEntry(parsing: bytes)?.isValid(geometry, virtualSize: 1 << 40)
                _ = try? BitmapDirectoryEntry.directory(bytes, count: 2, geometry: geometry, virtualSize: 1 << 20)
            }
        }
    }
}
