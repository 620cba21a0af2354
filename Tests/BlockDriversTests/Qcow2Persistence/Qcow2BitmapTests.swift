import BlockDrivers
import BlockGraph
import IOLoop
import Qcow2Format
import StorageTestSupport
import Testing

@Suite struct Qcow2BitmapTests {
    typealias Shape = Qcow2ImageBytes.Shape

    static let shapes = [
        Shape(clusterBits: 9, clusterCount: 1000), Shape(clusterBits: 12, clusterCount: 200),
        Shape(clusterBits: 16, refcountOrder: 6, clusterCount: 10),
        Shape(clusterBits: 14, isExtended: true, isLazy: true, clusterCount: 40),
    ]

    @Test(arguments: shapes, 0..<2)
    func `bitmaps come back as they were`(shape: Shape, run: Int) async throws {
        let seed = UInt64(run) + 5
        try await GraphFixture.run { fixture in
            var random = SeededGenerator(seed: seed)
            var bytes = Qcow2ImageBytes(shape).bytes
            var wanted: [String: (granules: Set<Int>, recording: Bool)] = [:]
            for round in 0..<4 {
                let rig = try await BitmapRig(bytes, in: fixture)
                for (name, content) in wanted {
                    let bitmap = try rig.node.bitmaps.find(name)
                    #expect(
                        bitmap.snapshot().dirtyGranules == content.granules, "seed \(seed), round \(round), \(name)")
                    #expect(bitmap.isRecording == content.recording && bitmap.isPersistent && !bitmap.isReadOnly)
                }
                #expect(rig.node.bitmaps.all.count == wanted.count)
                let name = "b\(Int.random(in: 0..<4, using: &random))"
                if let old = rig.node.bitmaps.bitmap(named: name) {
                    try await rig.graph.removeBitmap(old, of: rig.node)
                } else {
                    try rig.add(
                        name, granularity: 512 << Int64.random(in: 0...8, using: &random),
                        recording: Bool.random(using: &random))
                }
                for _ in 0..<10 {
                    let start = Int64.random(in: 0..<rig.node.length, using: &random)
                    let length = Int64.random(in: 1...min(40_000, rig.node.length - start), using: &random)
                    try await rig.write(start..<start + length)
                }
                if Bool.random(using: &random), let bitmap = rig.node.bitmaps.all.first {
                    bitmap.withBits { $0.setAll() }
                }
                wanted = [:]
                for bitmap in rig.node.bitmaps.all {
                    wanted[bitmap.name ?? ""] = (bitmap.snapshot().dirtyGranules, bitmap.isRecording)
                }
                bytes = try await rig.close()
                let survey = Qcow2Survey(bytes)
                #expect(survey.bitmaps.count == wanted.count)
                for bitmap in survey.bitmaps {
                    #expect(
                        survey.granules(of: bitmap) == wanted[bitmap.name]?.granules, "seed \(seed), round \(round)")
                    #expect(bitmap.flags == (wanted[bitmap.name]?.recording == true ? 2 : 0))
                }
                let findings = survey.findings()
                #expect(findings.errors.isEmpty && findings.leaks.isEmpty, "seed \(seed), round \(round): \(findings)")
            }
        }
    }

    /// An image with the bitmaps "one", which records, and "two", which does not, both with dirty bits.
    @GraphActor
    static func sample(_ shape: Shape, in fixture: GraphFixture) async throws -> [UInt8] {
        let rig = try await BitmapRig(Qcow2ImageBytes(shape).bytes, in: fixture)
        try rig.add("one")
        try await rig.write(1000..<5000)
        try rig.add("two", granularity: 4096, recording: false).withBits { $0.set(20_000..<30_000) }
        return try await rig.close()
    }

    // MARK: In use

    @Test(arguments: shapes) func `while an image is open its bitmaps are in use`(shape: Shape) async throws {
        try await GraphFixture.run { fixture in
            let bytes = try await Self.sample(shape, in: fixture)
            #expect(Qcow2Survey(bytes).bitmaps.allSatisfy { !$0.isInUse })
            let rig = try await BitmapRig(bytes, in: fixture)
            let killed = rig.disk.bytes
            #expect(Qcow2Survey(killed).bitmaps.map(\.flags) == Qcow2Survey(bytes).bitmaps.map { $0.flags | 1 })
            // Nobody closed it: the bitmaps are not to be trusted.
            let next = try await BitmapRig(killed, in: fixture)
            for info in next.node.bitmaps.infos {
                #expect(info.inconsistent && !info.recording && info.persistent && info.count == 0)
            }
            let (graph, node) = (next.graph, next.node)
            let bitmap = try node.bitmaps.find("one")
            let resizing = await blockError { () async throws(BlockError) in
                try await node.resize(to: 1 << 20, exact: true)
            }
            #expect(resizing == "Bitmap 'two' is inconsistent and cannot be used")
            try await graph.removeBitmap(bitmap, of: node)
            let left = Qcow2Survey(try await next.close())
            #expect(left.bitmaps.map(\.name) == ["two"] && left.bitmaps.allSatisfy(\.isInUse))
            let findings = left.findings()
            #expect(findings.errors.isEmpty && findings.leaks.isEmpty, "\(findings)")
        }
    }

    @Test func `a read-only image shows its bitmaps and keeps them`() async throws {
        try await GraphFixture.run { fixture in
            let bytes = try await Self.sample(Self.shapes[1], in: fixture)
            let rig = try await BitmapRig(bytes, in: fixture, isReadOnly: true, named: "ro")
            let (graph, node) = (rig.graph, rig.node)
            #expect(node.bitmaps.all.map(\.name) == ["one", "two"])
            #expect(node.bitmaps.infos.map(\.recording) == [true, false])
            let bitmap = try node.bitmaps.find("one")
            #expect(throws: BitmapError("Bitmap 'one' is readonly and cannot be modified")) {
                try bitmap.require(no: .toChange)
            }
            let removing = await blockError { () async throws(BlockError) in
                try await graph.removeBitmap(bitmap, of: node)
            }
            #expect(removing == "Cannot remove persistent bitmap 'one': no write access to node 'ro'")
            let adding = await blockError { () async throws(BlockError) in
                _ = try graph.addBitmap(named: "new", to: node, persistent: true)
            }
            #expect(adding == "Cannot add a persistent bitmap to read-only or inactive node 'ro'")
            #expect(try await rig.close() == bytes)
        }
    }

    @Test func `bitmaps of a program that knows none are dropped`() async throws {
        try await GraphFixture.run { fixture in
            var image = Qcow2ImageBytes(try await Self.sample(Self.shapes[1], in: fixture))
            image.store(UInt64(0), at: 88)
            let rig = try await BitmapRig(image.bytes, in: fixture)
            #expect(rig.node.bitmaps.isEmpty)
            try rig.add("new")
            let survey = Qcow2Survey(try await rig.close())
            #expect(survey.bitmaps.map(\.name) == ["new"])
            #expect(survey.findings().errors.isEmpty)
        }
    }

    @Test func `bitmaps follow the disk's length`() async throws {
        try await GraphFixture.run { fixture in
            let bytes = try await Self.sample(Self.shapes[1], in: fixture)
            let rig = try await BitmapRig(bytes, in: fixture)
            let (graph, node) = (rig.graph, rig.node)
            let isResizable = try await Self.resize(graph, node, to: 4 << 20)
            guard isResizable else { return _ = try await rig.close() }
            try await rig.write((3 << 20)..<(3 << 20) + 512)
            let wanted = try node.bitmaps.find("one").snapshot().dirtyGranules
            let next = try await BitmapRig(try await rig.close(), in: fixture)
            #expect(try next.node.bitmaps.find("one").snapshot().dirtyGranules == wanted)
            #expect(wanted.contains((3 << 20) / 512))
        }
    }

    /// Whether the driver can change its length.
    @GraphActor
    private static func resize(_ graph: BlockGraph, _ node: BlockNode, to length: Int64) async throws -> Bool {
        do throws(BlockError) {
            try await graph.drained([node]) { () async throws(BlockError) in
                try await node.resize(to: length, exact: true)
            }
            return true
        } catch {
            guard error.errno == .ENOTSUP else { throw error }
            return false
        }
    }

    // MARK: Limits

    @Test func `what cannot be stored is refused`() async throws {
        try await GraphFixture.run { fixture in
            func adding(_ rig: BitmapRig, _ name: String, _ granularity: Int64 = 65536) async -> String? {
                await blockError { () async throws(BlockError) in _ = try await rig.add(name, granularity: granularity)
                }
            }
            let old = try await BitmapRig(Qcow2ImageBytes(Shape(version: 2)).bytes, in: fixture, named: "old")
            #expect(
                await adding(old, "b")
                    == "Can't make bitmap 'b' persistent in 'old': Cannot store dirty bitmaps in qcow2 v2 files")
            let rig = try await BitmapRig(Qcow2ImageBytes(Shape()).bytes, in: fixture, named: "new")
            let name = String(repeating: "n", count: 1024)
            #expect(
                await adding(rig, name)
                    == "Can't make bitmap '\(name)' persistent in 'new': Name length exceeds maximum (1023 characters)")
            #expect(await adding(rig, String(name.dropLast())) == nil)
            #expect(await adding(rig, String(name.dropLast())) == "Bitmap already exists: \(name.dropLast())")
            #expect(await adding(rig, "") == "Bitmap name cannot be empty")
            // 2 TiB with 512 bytes for each bit are just what a bitmap may take.
            var huge = Qcow2ImageBytes(Shape(clusterBits: 21, clusterCount: (1 << 20) + 1))
            huge.store(UInt64(1) << 41, at: 24)
            let limit = try await BitmapRig(huge.bytes, in: fixture, named: "limit")
            #expect(await adding(limit, "b", 512) == nil)
            huge.store(UInt64(1) << 41 + 512, at: 24)
            let beyond = try await BitmapRig(huge.bytes, in: fixture, named: "beyond")
            #expect(
                await adding(beyond, "b", 512)
                    == """
                    Can't make bitmap 'b' persistent in 'beyond': Too much space will be occupied by the bitmap. Use \
                    larger granularity
                    """)
            #expect(await adding(beyond, "b", 1024) == nil)
        }
    }

    // MARK: Broken directories

    /// Changes of the first directory entry of a good image, and what is said of them.
    static let breakages: [(text: String, change: @Sendable (inout Qcow2ImageBytes, Int) -> Void)] = [
        ("Bitmap 'one' doesn't satisfy the constraints", { $0.store(UInt64(0), at: $1) }),
        ("Bitmap 'one' doesn't satisfy the constraints", { $0.store(UInt64(513), at: $1) }),
        ("Bitmap 'one' doesn't satisfy the constraints", { $0.store(UInt32(0), at: $1 + 8) }),
        ("Bitmap 'one' doesn't satisfy the constraints", { $0.store(UInt32(0x800_0001), at: $1 + 8) }),
        ("Bitmap 'one' doesn't satisfy the constraints", { $0.store(UInt32(8), at: $1 + 12) }),
        ("Bitmap 'one' doesn't satisfy the constraints", { $0.store(UInt8(2), at: $1 + 16) }),
        ("Bitmap 'one' doesn't satisfy the constraints", { $0.store(UInt8(8), at: $1 + 17) }),
        ("Bitmap 'one' doesn't satisfy the constraints", { $0.store(UInt8(32), at: $1 + 17) }),
        ("Could not read bitmap 'one' from image: Invalid argument", { $0.store(UInt32(7), at: $1 + 8) }),
        ("Bitmap extra data is not supported", { $0.store(UInt32(5), at: $1 + 20) }),
        (
            "Could not read bitmap_table table from image for bitmap 'one': Invalid argument",
            { image, entry in image.store(UInt64(2), at: Int(image.word(entry))) }
        ),
        (
            "Bitmap already exists: two",
            { image, entry in for (place, byte) in "two".utf8.enumerated() { image.store(byte, at: entry + 24 + place) }
            }
        ),
    ]

    @Test(arguments: breakages.indices) func `broken directories are refused`(index: Int) async throws {
        try await GraphFixture.run { fixture in
            var image = Qcow2ImageBytes(try await Self.sample(Self.shapes[1], in: fixture))
            // "two" is newer, and comes first where both are new.
            let directory = Qcow2Survey(image.bytes).directoryStart
            let entry = image.bytes[directory + 25] == UInt8(ascii: "n") ? directory : directory + 32
            Self.breakages[index].change(&image, entry)
            let bytes = image.bytes
            for isReadOnly in [true, false] {
                let text = await blockError { () async throws(BlockError) in
                    _ = try await BitmapRig(bytes, in: fixture, isReadOnly: isReadOnly)
                }
                #expect(text == Self.breakages[index].text)
            }
        }
    }

    // MARK: Faults

    @Test(arguments: shapes) func `a failing request never makes a wrong bitmap look right`(shape: Shape) async throws {
        try await GraphFixture.run { fixture in
            let bytes = try await Self.sample(shape, in: fixture)
            var number = 0
            while true {
                let disk = RecordingDisk(bytes)
                disk.fail(number..<number + 1)
                let rig: BitmapRig
                do throws(BlockError) {
                    rig = try await BitmapRig(disk, in: fixture)
                } catch {
                    number += 1
                    continue
                }
                let before = disk.requestCount
                try? await rig.write(40_000..<41_000)
                try rig.add("three", granularity: 1024).withBits { $0.set(0..<5000) }
                if number % 2 == 1 { try? await rig.graph.removeBitmap(rig.node.bitmaps.find("two"), of: rig.node) }
                let wanted = rig.node.bitmaps.all.map { (name: $0.name ?? "", granules: $0.snapshot().dirtyGranules) }
                _ = try await rig.close()
                let survey = Qcow2Survey(disk.bytes)
                for bitmap in survey.bitmaps where !bitmap.isInUse {
                    let right = wanted.first { $0.name == bitmap.name }?.granules
                    #expect(survey.granules(of: bitmap) == right, "request \(number), \(bitmap.name)")
                }
                let findings = survey.findings()
                #expect(findings.errors.isEmpty || survey.isDirty, "request \(number): \(findings)")
                if disk.requestCount <= number { break }
                #expect(before <= disk.requestCount)
                number += 1
            }
            #expect(number > 10)
        }
    }

    @Test(arguments: shapes) func `after a crash only right bitmaps are trusted`(shape: Shape) async throws {
        try await GraphFixture.run { fixture in
            let bytes = try await Self.sample(shape, in: fixture)
            let rig = try await BitmapRig(bytes, in: fixture)
            let firstWrite = rig.disk.events.count
            try await rig.write(40_000..<41_000)
            try rig.add("three", granularity: 1024).withBits { $0.set(0..<5000) }
            try await rig.graph.removeBitmap(rig.node.bitmaps.find("two"), of: rig.node)
            let events = { rig.disk.events }
            let new = rig.node.bitmaps.all.map { (name: $0.name ?? "", granules: $0.snapshot().dirtyGranules) }
            _ = try await rig.close()
            let old = Qcow2Survey(bytes)
            for cut in 0...events().count {
                for round in 0..<2 {
                    var random = SeededGenerator(seed: UInt64(cut * 2 + round))
                    let survey = Qcow2Survey(events().crashed(after: cut, from: bytes, using: &random))
                    for bitmap in survey.bitmaps where !bitmap.isInUse {
                        let granules = survey.granules(of: bitmap)
                        let isNew = new.contains { $0.name == bitmap.name && $0.granules == granules }
                        let isOld =
                            cut <= firstWrite
                            && old.bitmaps.contains {
                                $0.name == bitmap.name && old.granules(of: $0) == granules
                            }
                        #expect(isNew || isOld, "cut \(cut), round \(round), \(bitmap.name)")
                    }
                    let errors = survey.findings().errors
                    #expect(errors.isEmpty || survey.isDirty, "cut \(cut), round \(round): \(errors)")
                }
            }
        }
    }
}
