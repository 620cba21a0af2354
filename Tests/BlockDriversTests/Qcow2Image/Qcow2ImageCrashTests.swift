import BlockDrivers
import BlockGraph
import BlockTestSupport
import IOLoop
import Qcow2Format
import StorageTestSupport
import Testing

/// A crash at any moment leaves at most leaked clusters, and all that was committed.
@Suite struct Qcow2ImageCrashTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var name: String
        var shape: Qcow2ImageBytes.Shape
        var compresses = false
        var l2Size: Int64?
        var partSize: Int64?
        var testDescription: String { name }
    }

    static let cases = [
        Case(name: "usual", shape: .init(clusterBits: 10, clusterCount: 600)),
        Case(name: "compressed", shape: .init(clusterBits: 12, clusterCount: 400), compresses: true),
        Case(
            name: "small cache", shape: .init(clusterBits: 11, clusterCount: 2000), compresses: true, l2Size: 1024,
            partSize: 512),
        Case(name: "growing", shape: .init(clusterBits: 9, refcountOrder: 6, clusterCount: 5000), l2Size: 2048),
        Case(name: "single bits", shape: .init(clusterBits: 9, refcountOrder: 0, clusterCount: 3000), compresses: true),
        Case(name: "subclusters", shape: .init(clusterBits: 14, isExtended: true, clusterCount: 1500)),
        Case(name: "lazy", shape: .init(clusterBits: 10, isLazy: true, clusterCount: 600), compresses: true),
        Case(name: "version 2", shape: .init(version: 2, clusterBits: 10, clusterCount: 600), compresses: true),
    ]

    @Test(arguments: cases) func `a crash loses nothing that was committed`(_ test: Case) async throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        let start = Qcow2ImageBytes(test.shape)
        let disk = RecordingDisk(start.bytes, yields: true)
        let workload = Qcow2Workload(clusterCount: test.shape.clusterCount, compresses: test.compresses)
        try await GraphFixture.run { fixture in
            var configuration = Qcow2Configuration()
            configuration.l2CacheSize = test.l2Size
            configuration.l2CacheEntrySize = test.partSize
            let rig = try await Qcow2Rig(disk, in: fixture, configuration)
            try await concurrently(Array(0..<4), limit: 4) { (lane) async throws(Errno) in
                _ = await workload.run(rig, disk, steps: 60, seed: seed &+ UInt64(lane), lane: lane, laneCount: 4)
            }
            try await rig.image.makeClean()
        }
        let final = Qcow2ImageBytes(disk.bytes)
        let findings = Qcow2Findings(final)
        #expect(findings.errors.isEmpty && findings.leaks.isEmpty, "seed \(seed): \(findings)")
        #expect(workload.problems(final, since: workload.histories.map(\.count)) == [], "seed \(seed)")
        var random = SeededGenerator(seed: seed)
        let events = disk.events
        for _ in 0..<40 {
            let cut = Int.random(in: 0...events.count, using: &random)
            let image = Qcow2ImageBytes(events.crashed(after: cut, from: start.bytes, using: &random))
            let findings = Qcow2Findings(image, ignoresRefcounts: image.incompatible & 1 != 0)
            #expect(findings.errors.isEmpty, "seed \(seed), cut \(cut): \(findings.errors.prefix(5))")
            var committed = Array(repeating: 1, count: test.shape.clusterCount)
            for case .mark(let number) in events[..<cut] {
                committed = zip(committed, workload.commits[number]).map(max)
            }
            let problems = workload.problems(image, since: committed)
            #expect(problems.isEmpty, "seed \(seed), cut \(cut): \(problems.prefix(5))")
        }
    }
}
