import Testing

@testable import BlockGraph

@Suite struct DirtyBitmapTests {
    static func text(_ body: () throws -> Void) -> String? {
        do {
            try body()
            return nil
        } catch {
            return (error as? BitmapError)?.description
        }
    }

    @Test func `only a recording bitmap marks writes`() {
        let bitmap = DirtyBitmap(name: "b", length: 1 << 20, granularity: 65536)
        bitmap.markDirty(0..<1)
        bitmap.isRecording = false
        bitmap.markDirty(1 << 19..<1 << 20)
        #expect(bitmap.info.count == 65536)
        bitmap.isRecording = true
        bitmap.markDirty(65535..<65537)
        #expect(bitmap.info.count == 131072)
    }

    @Test func `clearing can be undone without losing later writes`() {
        let bitmap = DirtyBitmap(name: "b", length: 1 << 20, granularity: 65536)
        bitmap.markDirty(0..<1)
        let old = bitmap.clear()
        #expect(bitmap.info.count == 0)
        bitmap.markDirty(65536..<65537)
        bitmap.restore(old, keepingWrites: true)
        #expect(bitmap.info.count == 131072)
    }

    @Test func `merging bitmaps of different sizes is refused and changes nothing`() throws {
        let target = DirtyBitmap(name: "t", length: 1 << 20, granularity: 65536)
        var good = HierarchicalBitmap(length: 1 << 20, granularity: 512)
        good.setAll()
        let bad = HierarchicalBitmap(length: 1 << 21, granularity: 65536)
        let text = Self.text { try target.merge([good, bad]) }
        #expect(
            text == "Bitmaps are of different sizes (destination size is 1048576, source size is 2097152) "
                + "and can't be merged")
        #expect(target.info.count == 0)
        let old = try target.merge([good])
        #expect(target.info.count == 1 << 20)
        target.restore(old, keepingWrites: false)
        #expect(target.info.count == 0)
        try target.merge([])
        #expect(target.info.count == 0)
    }

    @Test func `obstacles are told in QEMU's words`() {
        let bitmap = DirtyBitmap(name: "b0", length: 1 << 20, granularity: 65536)
        #expect(Self.text { try bitmap.require(no: .toChange) } == nil)
        bitmap.markDirty(0..<1)
        bitmap.markInconsistent()
        #expect(Self.text { try bitmap.require(no: .toUse) } == "Bitmap 'b0' is inconsistent and cannot be used")
        #expect(bitmap.info.count == 0 && !bitmap.info.recording && bitmap.info.inconsistent)
        #expect(Self.text { try bitmap.require(no: .toRemove) } == nil)
        bitmap.isReadOnly = true
        #expect(Self.text { try bitmap.require(no: .toChange) } == "Bitmap 'b0' is readonly and cannot be modified")
        bitmap.isBusy = true
        let busy = "Bitmap 'b0' is currently in use by another operation and cannot be used"
        #expect(Self.text { try bitmap.require(no: .toChange) } == busy)
        #expect(Self.text { try bitmap.require(no: .toRemove) } == busy)
    }

    @Test func `names and granularities are checked in QEMU's order and words`() throws {
        let list = DirtyBitmapList()
        func refusal(_ name: String, _ granularity: Int64 = 65536) -> String? {
            Self.text { _ = try list.add(name: name, length: 1 << 20, granularity: granularity) }
        }
        let granularity = "Granularity must be power of 2 and at least 512"
        #expect(refusal("", 3) == "Bitmap name cannot be empty")
        #expect(refusal("b", 0) == granularity)
        #expect(refusal("b", 256) == granularity)
        #expect(refusal("b", 513) == granularity)
        #expect(refusal("b", 3 * 65536) == granularity)
        #expect(refusal("b", 512) == nil)
        #expect(refusal("b", 511) == granularity)
        #expect(refusal("b") == "Bitmap already exists: b")
        #expect(refusal("c", 1 << 31) == nil)
        let long = String(repeating: "y", count: 1024)
        #expect(refusal(long) == "Bitmap name too long: \(long)")
        #expect(refusal(String(repeating: "\u{e9}", count: 512))?.hasPrefix("Bitmap name too long: ") == true)
        #expect(refusal(String(long.dropLast())) == nil)
        #expect(Self.text { _ = try list.find("nope") } == "Dirty bitmap 'nope' not found")
        #expect(try list.find("c").granularity == 1 << 31)
    }

    @Test func `the newest bitmap comes first, and a removed one can be put back`() throws {
        let list = DirtyBitmapList()
        for name in ["a", "b", "c"] { _ = try list.add(name: name, length: 1 << 20, granularity: 512) }
        list.insert(DirtyBitmap(name: nil, length: 1 << 20, granularity: 512))
        #expect(list.infos.map(\.name) == [nil, "c", "b", "a"])
        let bitmap = try list.find("b")
        let position = try #require(list.remove(bitmap))
        #expect(list.remove(bitmap) == nil)
        #expect(list.infos.map(\.name) == [nil, "c", "a"])
        list.insert(bitmap, at: position)
        #expect(list.infos.map(\.name) == [nil, "c", "b", "a"])
    }

    @Test func `a write is marked in all recording bitmaps of the list`() throws {
        let list = DirtyBitmapList()
        list.markDirty(0..<512)
        let fine = try list.add(name: "fine", length: 1 << 20, granularity: 512)
        let coarse = try list.add(name: "coarse", length: 1 << 20, granularity: 1 << 20)
        let off = try list.add(name: "off", length: 1 << 20, granularity: 512, recording: false)
        list.markDirty(511..<1025)
        #expect([fine, coarse, off].map(\.info.count) == [1536, 1 << 20, 0])
        for bitmap in list.all { bitmap.truncate(to: 1024) }
        list.markDirty(0..<1 << 20)
        #expect([fine, coarse, off].map(\.info.count) == [1024, 1 << 20, 0])
        for bitmap in list.all { list.remove(bitmap) }
        list.markDirty(0..<512)
        #expect(list.isEmpty && off.info.count == 0)
    }

    @Test func `a bitmap follows writes that make the disk longer, in whatever order they come back`() throws {
        let list = DirtyBitmapList()
        let on = try list.add(name: "on", length: 512, granularity: 512)
        let off = try list.add(name: "off", length: 512, granularity: 512, recording: false)
        let driver = DirtyBitmap(name: nil, length: 512, granularity: 512, recording: false)
        list.insert(driver)
        // The disk reaches to 2048 already when the write of its middle comes back first.
        list.markDirty(1024..<1536, diskLength: 2048)
        list.markDirty(1536..<2048, diskLength: 2048)
        #expect(Array(on.snapshot().dirtyAreas) == [1024..<2048])
        #expect([on, off, driver].map(\.length) == [2048, 2048, 512])
        // A failed write beyond the end does not make it longer.
        list.markDirty(4096..<4608, diskLength: 2048)
        #expect(on.length == 2048)
    }

    @Test(arguments: [(nil, 65536), (512, 4096), (4096, 4096), (32768, 32768), (65536, 65536), (2 << 20, 65536)])
    func `the default granularity follows the cluster size`(cluster: Int64?, expected: Int64) {
        #expect(DirtyBitmap.defaultGranularity(clusterSize: cluster) == expected)
    }

    @Test func `threads that mark at the same time lose nothing`() async throws {
        let list = DirtyBitmapList()
        let bitmap = try list.add(name: "b", length: 64 << 20, granularity: 512)
        let snapshots = await withTaskGroup(of: Bool.self) { group in
            for task in 0..<4 {
                group.addTask {
                    for index in stride(from: Int64(task), to: 131072, by: 4) {
                        list.markDirty(index * 512..<index * 512 + 1)
                    }
                    return bitmap.snapshot()._invariantsHold()
                }
            }
            return await group.reduce(into: []) { $0.append($1) }
        }
        #expect(snapshots == [true, true, true, true])
        #expect(bitmap.info.count == 64 << 20)
    }
}
