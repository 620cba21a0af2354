import Qcow2Format
import StorageTestSupport

/// Changes of single numbers in the metadata of a valid image.
struct Qcow2Mutator {
    /// A number in an image.
    private struct Field {
        var offset: Int
        var width: Int
    }

    private let bytes: [UInt8]
    private let clusterSize: Int
    private let extended: Bool
    private var groups: [[Field]] = []

    init?(_ bytes: [UInt8]) {
        guard let header = try? Qcow2Header(parsing: bytes) else { return nil }
        self.bytes = bytes
        clusterSize = Int(header.clusterSize)
        extended = header.hasExtendedL2
        addHeader(header)
        addMapping(l1: Int(header.l1TableOffset), count: header.l1Size)
        addRefcounts(header)
        addSnapshots(header)
        addBitmaps(header)
        groups.removeAll { $0.isEmpty }
    }

    /// The image with one to three numbers changed, sometimes cut off, and what was done.
    func mutated(_ random: inout SeededGenerator) -> (bytes: [UInt8], changes: String) {
        var result = bytes
        var changes = ""
        for _ in 0..<([1, 1, 1, 2, 3].randomElement(using: &random) ?? 1) {
            guard let group = groups.randomElement(using: &random), let field = group.randomElement(using: &random),
                let other = group.randomElement(using: &random), field.offset + field.width <= result.count
            else { continue }
            let old = number(result, field)
            let new = changed(old, width: field.width, other: number(result, other), &random)
            for index in 0..<field.width {
                result[field.offset + index] = UInt8(truncatingIfNeeded: new >> UInt64(8 * (field.width - 1 - index)))
            }
            changes += "[\(field.offset)+\(field.width)] \(String(old, radix: 16)) -> \(String(new, radix: 16)); "
        }
        if Int.random(in: 0..<30, using: &random) == 0 {
            let length = Int.random(in: 0..<result.count, using: &random)
            result.removeLast(result.count - length)
            changes += "cut at \(length)"
        }
        return (result, changes)
    }

    private func number(_ bytes: [UInt8], _ field: Field) -> UInt64 {
        guard field.offset + field.width <= bytes.count else { return 0 }
        return bytes[field.offset..<field.offset + field.width].reduce(0) { $0 << 8 | UInt64($1) }
    }

    private func changed(_ old: UInt64, width: Int, other: UInt64, _ random: inout SeededGenerator) -> UInt64 {
        let cluster = UInt64.random(in: 0..<UInt64(bytes.count / clusterSize + 3), using: &random) * UInt64(clusterSize)
        let kept = old & ~Qcow2.offsetMask
        switch Int.random(in: 0..<12, using: &random) {
        case 0: return old ^ 1 << UInt64.random(in: 0..<UInt64(8 * width), using: &random)
        case 1: return 0
        case 2: return other
        case 3: return old &+ ([1, 2, .max].randomElement(using: &random) ?? 1)
        case 4: return kept | cluster
        case 5: return kept | cluster + UInt64([512, clusterSize / 2].randomElement(using: &random) ?? 512)
        case 6: return old ^ (width == 8 ? 1 << 63 : 1)
        case 7: return old ^ (width == 8 ? 1 << 62 : 2)
        case 8: return old ^ ([1, 2, 1 << 8, 1 << 56, 1 << 61, 1 << 32].randomElement(using: &random) ?? 1)
        case 9: return .max
        case 10: return random.next()
        default:
            let steps = [Int64(clusterSize), -Int64(clusterSize), 1 << 40, 1 << 30]
            return old &+ UInt64(bitPattern: steps.randomElement(using: &random) ?? 0)
        }
    }

    // MARK: Finding the numbers

    private func value(_ offset: Int, _ width: Int = 8) -> Int {
        Int(truncatingIfNeeded: number(bytes, Field(offset: offset, width: width)))
    }

    private func pointer(_ offset: Int) -> Int { value(offset) & Int(Qcow2.offsetMask) }

    private mutating func addHeader(_ header: Qcow2Header) {
        let common = [(8, 8), (16, 4), (24, 8), (36, 4), (40, 8), (48, 8), (56, 4), (60, 4), (64, 8)]
        let later = header.version == 3 ? [(72, 8), (72, 8), (80, 8), (88, 8), (96, 4), (100, 4), (104, 1)] : []
        groups.append((common + later).map { Field(offset: $0.0, width: $0.1) })
        var extensions: [Field] = []
        var offset = header.version == 3 ? value(100, 4) : 72
        for item in header.extensions {
            extensions += [Field(offset: offset, width: 4), Field(offset: offset + 4, width: 4)]
            if item.kind == .bitmaps {
                extensions += [(8, 4), (16, 8), (24, 8)].map { Field(offset: offset + $0.0, width: $0.1) }
            }
            offset += item.encodedSize
        }
        groups.append(extensions)
    }

    private mutating func addMapping(l1: Int, count: Int) {
        groups.append((0..<min(count, 512)).map { Field(offset: l1 + 8 * $0, width: 8) })
        var entries: [Field] = []
        var bitmaps: [Field] = []
        let size = extended ? 16 : 8
        for index in 0..<min(count, 512) {
            let table = pointer(l1 + 8 * index)
            if table == 0 || table + clusterSize > bytes.count { continue }
            var unused = 0
            for entry in stride(from: table, to: table + clusterSize, by: size) {
                if value(entry) == 0 { unused += 1 }
                if value(entry) == 0, unused > 4 { continue }
                entries.append(Field(offset: entry, width: 8))
                if extended { bitmaps.append(Field(offset: entry + 8, width: 8)) }
            }
        }
        groups += [entries, bitmaps]
    }

    private mutating func addRefcounts(_ header: Qcow2Header) {
        var table: [Field] = []
        var counts: [Field] = []
        let perBlock = header.geometry.refcountBlockEntryCount
        let clusters = bytes.count / clusterSize + 1
        for index in 0..<clusterSize / 8 {
            let entry = Int(header.refcountTableOffset) + 8 * index
            let block = pointer(entry)
            if block != 0 || index < 2 { table.append(Field(offset: entry, width: 8)) }
            if block == 0 || block + clusterSize > bytes.count { continue }
            for number in 0..<min(perBlock, max(0, clusters - index * perBlock) + 2) {
                let width = max(1, (1 << header.refcountOrder) / 8)
                counts.append(Field(offset: block + ((number << header.refcountOrder) >> 3), width: width))
            }
        }
        groups += [table, counts]
    }

    private mutating func addSnapshots(_ header: Qcow2Header) {
        var fields: [Field] = []
        var offset = Int(header.snapshotsOffset)
        for _ in 0..<header.snapshotCount {
            fields += [(0, 8), (8, 4), (12, 2), (14, 2), (36, 4), (40, 8), (48, 8)].map {
                Field(offset: offset + $0.0, width: $0.1)
            }
            addMapping(l1: value(offset), count: value(offset + 8, 4))
            offset += (40 + value(offset + 36, 4) + value(offset + 12, 2) + value(offset + 14, 2) + 7) / 8 * 8
        }
        groups.append(fields)
    }

    private mutating func addBitmaps(_ header: Qcow2Header) {
        guard let place = header.bitmaps else { return }
        var fields: [Field] = []
        var tables: [Field] = []
        var offset = Int(place.directoryOffset)
        for _ in 0..<place.bitmapCount {
            fields += [(0, 8), (8, 4), (12, 4), (16, 1), (17, 1), (18, 2), (20, 4)].map {
                Field(offset: offset + $0.0, width: $0.1)
            }
            tables += (0..<value(offset + 8, 4)).map { Field(offset: value(offset) + 8 * $0, width: 8) }
            offset += (24 + value(offset + 20, 4) + value(offset + 18, 2) + 7) / 8 * 8
        }
        groups += [fields, tables]
    }
}
