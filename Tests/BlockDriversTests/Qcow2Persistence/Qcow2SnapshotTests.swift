import BlockDrivers
import BlockGraph
import BlockTestSupport
import Glibc
import IOLoop
import Qcow2Format
import StorageTestSupport
import Testing

@Suite struct Qcow2SnapshotTests {
    typealias Shape = Qcow2ImageBytes.Shape

    /// Shapes that differ in what matters to snapshots.
    static let shapes = [
        Shape(clusterBits: 9, clusterCount: 150), Shape(version: 2, clusterBits: 9, clusterCount: 100),
        Shape(clusterBits: 9, refcountOrder: 6, clusterCount: 150),
        Shape(clusterBits: 14, isExtended: true, clusterCount: 24),
        Shape(clusterBits: 10, refcountOrder: 3, isLazy: true, clusterCount: 200),
        Shape(clusterBits: 12, refcountOrder: 4, clusterCount: 600),
    ]

    /// Images after random changes, with what they hold.
    @GraphActor
    static func prepare(
        _ shape: Shape, steps: Int, seed: UInt64, in fixture: GraphFixture
    ) async throws -> (bytes: [UInt8], model: InternalSnapshotModel) {
        var random = SeededGenerator(seed: seed)
        var rig = try await InternalSnapshotRig(
            Qcow2ImageBytes(shape).bytes, InternalSnapshotModel(clusterCount: shape.clusterCount), in: fixture)
        for _ in 0..<steps { try await rig.step(&random) }
        let survey = try await rig.clean()
        try #require(rig.model.matches(survey))
        return (rig.disk.bytes, rig.model)
    }

    // MARK: What the list says

    @Test func `ids count up, and names are cut`() async throws {
        try await GraphFixture.run { fixture in
            let rig = try await InternalSnapshotRig(
                Qcow2ImageBytes(Shape()).bytes, InternalSnapshotModel(clusterCount: 1000), in: fixture)
            #expect(try rig.snapshots.list().isEmpty)
            for name in ["a", "b", "a"] { _ = try await rig.snapshots.create(name: name) }
            try await rig.snapshots.delete(id: "2")
            _ = try await rig.snapshots.create(name: String(repeating: "n", count: 300))
            let list = try rig.snapshots.list()
            #expect(list.map(\.id) == ["1", "3", "4"])
            #expect(list.map(\.name) == ["a", "a", String(repeating: "n", count: 255)])
            #expect(list.allSatisfy { $0.diskSize == 1000 << 12 && $0.vmStateSize == 0 && $0.instructionCount == nil })
            let reloaded = try await Qcow2Snapshots.load(rig.rig.image)
            #expect(try reloaded.list() == list)
        }
    }

    @Test func `what is not there cannot be applied or deleted`() async throws {
        try await GraphFixture.run { fixture in
            let rig = try await InternalSnapshotRig(
                Qcow2ImageBytes(Shape()).bytes, InternalSnapshotModel(clusterCount: 1000), in: fixture)
            let (before, snapshots) = (rig.disk.bytes, rig.snapshots)
            let applying = await blockError { () async throws(BlockError) in try await snapshots.apply(id: "1") }
            let deleting = await blockError { () async throws(BlockError) in try await snapshots.delete(id: "1") }
            #expect(applying == "Failed to load snapshot: No such file or directory")
            #expect(deleting == "Failed to remove snapshot from snapshot list: No such file or directory")
            #expect(rig.disk.bytes == before)
        }
    }

    @Test func `dirty bitmaps keep a snapshot from being applied`() async throws {
        try await GraphFixture.run { fixture in
            var rig = try await InternalSnapshotRig(
                Qcow2ImageBytes(Shape()).bytes, InternalSnapshotModel(clusterCount: 1000), in: fixture)
            try await rig.create("a")
            let (node, snapshots) = (rig.rig.node, rig.snapshots)
            _ = try node.bitmaps.add(name: "b", length: node.length, granularity: 65536)
            let applying = await blockError { () async throws(BlockError) in try await snapshots.apply(id: "1") }
            #expect(applying == "Device has active dirty bitmaps")
        }
    }

    @Test func `clusters that can have one reference only cannot be shared`() async throws {
        try await GraphFixture.run { fixture in
            var rig = try await InternalSnapshotRig(
                Qcow2ImageBytes(Shape(refcountOrder: 0)).bytes, InternalSnapshotModel(clusterCount: 1000), in: fixture)
            try await rig.create("empty")
            for cluster in [0, 1, 700] { try await rig.put(cluster, 7) }
            let snapshots = rig.snapshots
            await #expect(throws: Errno.EINVAL) { _ = try await snapshots.create(name: "full") }
            let survey = try await rig.clean()
            #expect(rig.model.matches(survey) && !survey.isDirty)
            let findings = survey.findings()
            #expect(findings.errors.isEmpty && findings.leaks.isEmpty, "\(findings)")
        }
    }

    // MARK: Contents

    @Test(arguments: shapes, 0..<3)
    func `snapshots keep the disk as it was, whatever is done`(shape: Shape, run: Int) async throws {
        let seed = UInt64(run) + 71
        try await GraphFixture.run { fixture in
            var random = SeededGenerator(seed: seed)
            var rig = try await InternalSnapshotRig(
                Qcow2ImageBytes(shape).bytes, InternalSnapshotModel(clusterCount: shape.clusterCount), in: fixture)
            for _ in 0..<4 {
                for _ in 0..<40 { try await rig.step(&random) }
                let survey = try await rig.clean()
                #expect(rig.model.matches(survey), "seed \(seed)")
                let findings = survey.findings()
                #expect(findings.errors.isEmpty && findings.leaks.isEmpty, "seed \(seed): \(findings)")
                #expect(!survey.isDirty, "seed \(seed)")
            }
        }
    }

    @Test(arguments: 0..<4) func `deleting every snapshot leaves the disk alone`(run: Int) async throws {
        let seed = UInt64(run) + 17
        try await GraphFixture.run { fixture in
            let shape = Self.shapes[run % Self.shapes.count]
            let (bytes, model) = try await Self.prepare(shape, steps: 80, seed: seed, in: fixture)
            var rig = try await InternalSnapshotRig(bytes, model, in: fixture)
            while !rig.model.snapshots.isEmpty { try await rig.delete(0) }
            let survey = try await rig.clean()
            #expect(rig.model.matches(survey), "seed \(seed)")
            let findings = survey.findings()
            #expect(findings.errors.isEmpty && findings.leaks.isEmpty, "seed \(seed): \(findings)")
            #expect(survey.image.word(64) == 0)
        }
    }

    // MARK: Faults

    /// The three changes, on a prepared image.
    static let changes: [@GraphActor @Sendable (inout InternalSnapshotRig) async throws -> Void] = [
        { rig in try await rig.create("new") }, { rig in try await rig.apply(0) }, { rig in try await rig.delete(0) },
    ]

    /// An image with two snapshots and a changed disk.
    @GraphActor
    static func sample(_ shape: Shape, in fixture: GraphFixture) async throws -> (
        bytes: [UInt8], model: InternalSnapshotModel
    ) {
        var rig = try await InternalSnapshotRig(
            Qcow2ImageBytes(shape).bytes, InternalSnapshotModel(clusterCount: shape.clusterCount), in: fixture)
        for cluster in 0..<6 { try await rig.put(cluster, 1) }
        try await rig.put(shape.clusterCount - 1, 1)
        try await rig.create("first")
        for cluster in 2..<8 { try await rig.put(cluster, 2) }
        try await rig.create("second")
        for cluster in 4..<10 { try await rig.put(cluster, 3) }
        try await rig.drop(0)
        _ = try await rig.clean()
        return (rig.disk.bytes, rig.model)
    }

    @Test(arguments: shapes, 0..<3)
    func `a request that fails leaves the old state or the new one`(shape: Shape, change: Int) async throws {
        try await GraphFixture.run { fixture in
            let (bytes, model) = try await Self.sample(shape, in: fixture)
            var number = 0
            while true {
                var rig = try await InternalSnapshotRig(bytes, model, in: fixture)
                let first = rig.disk.requestCount + number
                rig.disk.fail(first..<first + 1)
                var new = rig
                let failed: Bool
                do {
                    try await Self.changes[change](&new)
                    failed = false
                } catch {
                    failed = true
                }
                guard rig.disk.requestCount > first else { break }
                // The image works on, and nothing is lost.
                if !rig.rig.image.isMarkedCorrupt {
                    if !failed { rig = new }
                    try await Self.continueAfterFault(&rig, change: change, "request \(number)")
                }
                number += 1
            }
            #expect(number > 5)
        }
    }

    /// Writes on, and looks whether all is there.
    @GraphActor
    private static func continueAfterFault(_ rig: inout InternalSnapshotRig, change: Int, _ what: String) async throws {
        let survey = try await rig.clean()
        // A change that failed in the end may still have been made.
        if !rig.model.matches(survey) {
            if change == 1 { rig.model.current = rig.model.snapshots[0].content }
            if change == 2 { rig.model.snapshots.remove(at: 0) }
        }
        #expect(rig.model.matches(survey), "\(what)")
        let findings = survey.findings()
        #expect(survey.isDirty || findings.errors.isEmpty, "\(what): \(findings)")
        for cluster in 0..<12 { try await rig.put(cluster, 9) }
        let later = try await rig.clean()
        #expect(rig.model.matches(later), "\(what), later")
        #expect(
            later.findings().errors.allSatisfy { survey.isDirty && $0.contains("flag") },
            "\(what), later: \(later.findings())")
    }

    @Test(arguments: shapes, 0..<3)
    func `a crash leaves the old state or the new one`(shape: Shape, change: Int) async throws {
        try await GraphFixture.run { fixture in
            let (bytes, model) = try await Self.sample(shape, in: fixture)
            var rig = try await InternalSnapshotRig(bytes, model, in: fixture)
            try await Self.changes[change](&rig)
            _ = try await rig.clean()
            let events = rig.disk.events
            for cut in 0...events.count {
                for round in 0..<2 {
                    var random = SeededGenerator(seed: UInt64(cut * 2 + round))
                    let survey = Qcow2Survey(events.crashed(after: cut, from: bytes, using: &random))
                    #expect(model.matches(survey) || rig.model.matches(survey), "cut \(cut), round \(round)")
                    let errors = survey.findings().errors
                    // Version 2 has no dirty bit: flags may be wrong in the harmless direction.
                    let isFine =
                        survey.isDirty
                        || (shape.version == 2 ? errors.allSatisfy { $0.contains("flag") } : errors.isEmpty)
                    #expect(isFine, "cut \(cut), round \(round): \(errors)")
                }
            }
        }
    }
}
