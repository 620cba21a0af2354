import StorageTestSupport
import Testing

@testable import BlockGraph

@Suite struct HierarchicalBitmapModelTests {
    /// Sizes in granules around the edges of words, leaves and branches, with the last granule cut or not; the large ones in
    /// a test of their own.
    static let shapes: [(granules: Int64, granularity: Int64, tail: Int64)] = [
        (1, 1, 0), (1, 512, 511), (63, 512, 0), (64, 512, 0), (65, 512, -1), (100, 65536, -65535), (4095, 512, 0),
        (4096, 512, 0), (4096, 4096, -1), (4097, 1, 0), (4097, 512, -511), (8192, 2, -1), (20001, 1024, -3),
        (32767, 512, 0), (32768, 512, 0), (32768, 2, -1), (32769, 4096, -4095), (65536, 1, 0), (66000, 512, 0),
    ]

    @Test(arguments: 0..<shapes.count)
    func `random operations agree with a naive bitmap`(shapeIndex: Int) {
        let shape = Self.shapes[shapeIndex]
        let length = max(shape.granules * shape.granularity + min(shape.tail, 0), 1)
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededGenerator(seed: seed)
        var bitmap = HierarchicalBitmap(length: length, granularity: shape.granularity)
        var model = BitmapModel(length: length, granularity: shape.granularity)
        let rounds: Int = shape.granules > 30000 ? 60 : shape.granules > 4000 ? 150 : 400
        for round in 0..<rounds {
            let comment: Comment = "seed \(seed), shape \(shape), round \(round)"
            let before = (bitmap, model)
            let range = Self.range(length: model.length, granularity: shape.granularity, using: &random)
            switch Int.random(in: 0..<14, using: &random) {
            case 12...13: Self.scatter(&bitmap, &model, using: &random)
            case 0...4:
                bitmap.set(range)
                model.set(range)
            case 5...6:
                bitmap.reset(covering: range)
                model.resetCovering(range)
            case 7...8:
                bitmap.reset(contained: range)
                model.resetContained(range)
            case 9:
                let other = Self.randomPair(length: model.length, granularity: shape.granularity, using: &random)
                bitmap.merge(other.0)
                model.merge(other.1)
            case 10 where round % 3 == 0:
                let newLength = Int64.random(in: 0...length + length / 2, using: &random)
                bitmap.truncate(to: newLength)
                model.truncate(to: newLength)
            case 11 where round % 5 == 0:
                bitmap.setAll()
                model.set(0..<model.length)
            default:
                bitmap.set(range)
                model.set(range)
            }
            Self.compare(bitmap, model, comment, using: &random)
            // The copy made before the change must not have seen it.
            if round % 5 == 0 { #expect(before.0.serialized() == before.1.serialized, comment) }
            if round % 40 == 39 {
                bitmap.clear()
                model.resetCovering(0..<model.length)
            }
        }
    }

    @Test(arguments: [(512, 4096), (4096, 512), (512, 65536), (1 << 20, 512), (65536, 65536)])
    func `merging rounds the source outwards to the target's granules`(target: Int64, source: Int64) {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededGenerator(seed: seed)
        for _ in 0..<20 {
            let length = Int64.random(in: 1...3_000_000, using: &random)
            var (bitmap, model) = Self.randomPair(length: length, granularity: target, using: &random)
            let (other, otherModel) = Self.randomPair(length: length, granularity: source, using: &random)
            bitmap.merge(other)
            model.merge(otherModel)
            #expect(Array(bitmap.dirtyAreas) == model.areas, "seed \(seed)")
            #expect(bitmap._invariantsHold(), "seed \(seed)")
        }
    }

    @Test(arguments: [(512, 4096), (512, 512), (512, 65536), (65536, 512)])
    func `bitmaps with bits anywhere merge`(target: Int64, source: Int64) {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededGenerator(seed: seed)
        for _ in 0..<6 {
            let length = Int64.random(in: 1...40_000 * 512, using: &random)
            var (bitmap, model) = Self.randomPair(length: length, granularity: target, using: &random)
            var (other, otherModel) = Self.randomPair(length: length, granularity: source, using: &random)
            for _ in 0..<2 {
                Self.scatter(&bitmap, &model, using: &random)
                Self.scatter(&other, &otherModel, using: &random)
            }
            let before = (other, bitmap, model)
            bitmap.merge(other)
            model.merge(otherModel)
            Self.compare(bitmap, model, "seed \(seed)", using: &random)
            #expect(before.0.serialized() == otherModel.serialized, "seed \(seed)")
            #expect(before.1.serialized() == before.2.serialized, "seed \(seed)")
        }
    }

    @Test(arguments: 0..<shapes.count)
    func `the serialised form goes out and comes back in parts of any size`(shapeIndex: Int) {
        let shape = Self.shapes[shapeIndex]
        let length = max(shape.granules * shape.granularity + min(shape.tail, 0), 1)
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededGenerator(seed: seed)
        for _ in 0..<5 {
            var (bitmap, model) = Self.randomPair(length: length, granularity: shape.granularity, using: &random)
            Self.scatter(&bitmap, &model, using: &random)
            var copy = HierarchicalBitmap(length: length, granularity: shape.granularity)
            var first = 0
            while first < bitmap.serializedSize {
                var part = [UInt8](repeating: 0xAA, count: Int.random(in: 1...600, using: &random) * 8)
                part.withUnsafeMutableBytes { bitmap.copySerialized(from: first, into: $0) }
                let end = min(first + part.count, bitmap.serializedSize)
                #expect(Array(part.prefix(end - first)) == Array(model.serialized[first..<end]), "seed \(seed)")
                #expect(part.dropFirst(end - first).allSatisfy { $0 == 0 }, "seed \(seed)")
                part.withUnsafeBytes { copy.mergeSerialized($0, at: first) }
                first = end
            }
            #expect(copy == bitmap && copy._invariantsHold(), "seed \(seed)")
        }
    }

    /// Sets or resets few or many granules, each for itself: around the numbers at which a leaf changes its form.
    static func scatter(
        _ bitmap: inout HierarchicalBitmap, _ model: inout BitmapModel, using random: inout SeededGenerator
    ) {
        guard model.length > 0 else { return }
        let count = [1, 2, 100, 300, 1000, 1030, 3000].randomElement(using: &random) ?? 1
        let sets = Bool.random(using: &random)
        for _ in 0..<count {
            let offset = Int64.random(in: 0..<model.length, using: &random)
            if sets {
                bitmap.set(offset..<offset + 1)
                model.set(offset..<offset + 1)
            } else {
                bitmap.reset(covering: offset..<offset + 1)
                model.resetCovering(offset..<offset + 1)
            }
        }
    }

    /// A range that often begins or ends near a granule's edge, and at times outside the disk.
    static func range(length: Int64, granularity: Int64, using random: inout SeededGenerator) -> Range<Int64> {
        let size = Bool.random(using: &random) ? length / 20 + 1 : length
        var start = Int64.random(in: -1...length + 1, using: &random)
        var end = start + Int64.random(in: 0...size, using: &random)
        if Bool.random(using: &random) {
            let edge = Int64.random(in: -1...1, using: &random)
            start = start / granularity * granularity + edge
            end = max(start, end / granularity * granularity - edge)
        }
        return start..<end
    }

    static func randomPair(
        length: Int64, granularity: Int64, using random: inout SeededGenerator
    ) -> (HierarchicalBitmap, BitmapModel) {
        var bitmap = HierarchicalBitmap(length: length, granularity: granularity)
        var model = BitmapModel(length: length, granularity: granularity)
        for _ in 0..<Int.random(in: 0..<6, using: &random) {
            let range = range(length: length, granularity: granularity, using: &random)
            bitmap.set(range)
            model.set(range)
        }
        return (bitmap, model)
    }

    static func compare(
        _ bitmap: HierarchicalBitmap, _ model: BitmapModel, _ comment: Comment, using random: inout SeededGenerator
    ) {
        #expect(bitmap._invariantsHold(), comment)
        let dirty = model.granules.count { $0 }
        #expect(bitmap.dirtyByteCount == Int64(dirty) * model.granularity, comment)
        #expect(bitmap.isClean == (dirty == 0), comment)
        #expect(Array(bitmap.dirtyAreas) == model.areas, comment)
        #expect(bitmap.serialized() == model.serialized, comment)
        for _ in 0..<5 {
            let range = range(length: model.length, granularity: model.granularity, using: &random)
            #expect(bitmap.nextDirty(in: range) == model.next(true, range), comment)
            var areas: [Range<Int64>] = []
            let wanted = Int.random(in: 1...20, using: &random)
            bitmap.forEachDirtyArea(in: range) { area in
                areas.append(area)
                return areas.count < wanted
            }
            #expect(areas == Array(bitmap.dirtyAreas(in: range).prefix(wanted)), comment)
            #expect(bitmap.nextClean(in: range) == model.next(false, range), comment)
            let offset = range.lowerBound
            #expect(bitmap.isDirty(at: offset) == model.isDirty(offset), comment)
            let status = bitmap.status(at: offset, upTo: range.upperBound)
            if offset >= 0, offset < min(range.upperBound, model.length) {
                let end = model.next(!status.isDirty, range) ?? min(range.upperBound, model.length)
                #expect(status.isDirty == model.isDirty(offset) && status.length == end - offset, comment)
            } else {
                #expect(status.length == 0, comment)
            }
            let most = Int64.random(in: 1...model.granularity * 3, using: &random)
            let area = bitmap.nextDirtyArea(from: offset, to: range.upperBound, maxLength: most)
            if let start = model.next(true, range) {
                let end = model.next(false, start..<range.upperBound) ?? min(range.upperBound, model.length)
                #expect(area == start..<min(end, start + most), comment)
            } else {
                #expect(area == nil, comment)
            }
        }
    }
}
