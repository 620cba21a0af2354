import BlockDrivers
import BlockGraph
import BlockTestSupport
import Glibc
import IOLoop
import Qcow2Format
import StorageTestSupport
import Testing

@Suite struct Qcow2ImageCommitTests {
    typealias Shape = Qcow2ImageBytes.Shape

    @Test(arguments: [nil, 1024] as [Int64?])
    func `changes from several loops and commits at the same time`(l2Size: Int64?) async throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        let shape = Shape(clusterBits: 10, clusterCount: 3000)
        let disk = RecordingDisk(Qcow2ImageBytes(shape).bytes, yields: true)
        let workload = Qcow2Workload(clusterCount: shape.clusterCount, compresses: true)
        try await withLoops(3) { loops in
            try await GraphFixture.run { fixture in
                var configuration = Qcow2Configuration()
                configuration.l2CacheSize = l2Size
                let rig = try await Qcow2Rig(disk, in: fixture, configuration)
                let tasks = (0..<9).map { lane in
                    Task(executorPreference: loops[lane % 3]) {
                        await workload.run(
                            rig, disk, steps: 300, seed: seed &+ UInt64(lane), lane: lane, laneCount: 9)
                    }
                }
                for task in tasks { #expect(await task.value == 0, "seed \(seed)") }
                try await rig.image.makeClean()
            }
        }
        let image = Qcow2ImageBytes(disk.bytes)
        let findings = Qcow2Findings(image)
        #expect(findings.errors.isEmpty && findings.leaks.isEmpty, "seed \(seed): \(findings)")
        #expect(workload.problems(image, since: workload.histories.map(\.count)) == [], "seed \(seed)")
    }

    @Test func `a commit writes refcounts, then L2 tables, then the L1 table, with flushes between`() async throws {
        let shape = Shape()
        let disk = RecordingDisk(Qcow2ImageBytes(shape).bytes)
        try await GraphFixture.run { fixture in
            let rig = try await Qcow2Rig(disk, in: fixture)
            try await rig.put(0, 1)
            let former = disk.events.count
            try await rig.image.commit()
            let image = Qcow2ImageBytes(disk.bytes)
            let l2 = Int(image.word(image.l1Start) & 0x00FF_FFFF_FFFF_FE00)
            let steps = disk.events[former...].map { event -> String in
                switch event {
                case .write(let offset, _) where offset >= 2 * 4096 && offset < 3 * 4096: "refcounts"
                case .write(let offset, _) where offset >= l2 && offset < l2 + 4096: "L2"
                case .write(let offset, _) where offset == image.l1Start: "L1"
                case .write(let offset, _): "write \(offset)"
                case .flush: "flush"
                case .mark: "mark"
                }
            }
            #expect(steps == ["refcounts", "flush", "L2", "flush", "L1", "flush"])
            // Nothing has changed since.
            try await rig.image.commit()
            #expect(disk.events.count == former + steps.count)
        }
    }

    @Test func `commits at the same time are one`() async throws {
        let shape = Shape()
        let disk = RecordingDisk(Qcow2ImageBytes(shape).bytes, yields: true)
        try await GraphFixture.run { fixture in
            let rig = try await Qcow2Rig(disk, in: fixture)
            try await rig.put(0, 1)
            let former = disk.requestCount
            try await concurrently(Array(0..<20), limit: 20) { (_) async throws(Errno) in try await rig.image.commit() }
            // The first one, and one for those that came when it had begun.
            #expect(disk.requestCount - former <= 8)
        }
    }

    @Test func `a commit that fails is made good by the next one`() async throws {
        let disk = RecordingDisk(Qcow2ImageBytes(Shape()).bytes)
        try await GraphFixture.run { fixture in
            let rig = try await Qcow2Rig(disk, in: fixture)
            try await rig.put(0, 1)
            for step in 0..<6 {
                disk.fail(disk.requestCount + step..<disk.requestCount + step + 1)
                #expect(await errno { () throws(Errno) in try await rig.image.commit() } == .EIO, "step \(step)")
            }
            disk.fail(0..<0)
            try await rig.image.commit()
            let findings = Qcow2Findings(Qcow2ImageBytes(disk.bytes))
            #expect(findings.errors.isEmpty && findings.leaks.isEmpty, "\(findings)")
            #expect(Qcow2ImageBytes(disk.bytes).entry(0)?.0 ?? 0 != 0)
        }
    }

    @Test func `with late refcounts the dirty bit is set before and cleared at the end`() async throws {
        let disk = RecordingDisk(Qcow2ImageBytes(Shape(isLazy: true)).bytes)
        try await GraphFixture.run { fixture in
            let rig = try await Qcow2Rig(disk, in: fixture)
            #expect(Qcow2ImageBytes(disk.bytes).incompatible & 1 == 0)
            try await rig.put(0, 1)
            #expect(Qcow2ImageBytes(disk.bytes).incompatible & 1 == 1)
            try await rig.image.commit()
            let image = Qcow2ImageBytes(disk.bytes)
            #expect(image.refcount(Int(try #require(image.entry(0)).0 & 0x00FF_FFFF_FFFF_FE00) / 4096) == 0)
            try await rig.image.makeClean()
            #expect(Qcow2ImageBytes(disk.bytes).incompatible & 1 == 0)
            let findings = Qcow2Findings(Qcow2ImageBytes(disk.bytes))
            #expect(findings.errors.isEmpty && findings.leaks.isEmpty, "\(findings)")
        }
    }

    @Test func `qemu-img finds nothing wrong with what a workload leaves`() async throws {
        guard let program = installedPrograms("qemu-img").first else { return }
        let directory = TemporaryDirectory()
        let seed = UInt64.random(in: 0...UInt64.max)
        for shape in Qcow2ImageTests.shapes {
            let disk = RecordingDisk(Qcow2ImageBytes(shape).bytes)
            let workload = Qcow2Workload(clusterCount: shape.clusterCount, compresses: false)
            try await GraphFixture.run { fixture in
                let rig = try await Qcow2Rig(disk, in: fixture)
                _ = await workload.run(rig, disk, steps: 300, seed: seed)
                try await rig.image.makeClean()
            }
            let path = directory.file("image.qcow2")
            let file = try #require(fopen(path, "w"))
            let bytes = disk.bytes
            #expect(fwrite(bytes, 1, bytes.count, file) == bytes.count)
            fclose(file)
            let result = run([program, "check", "-f", "qcow2", path], output: directory.file("output"))
            #expect(result.status == 0, "seed \(seed), \(shape): \(result.output)")
        }
    }
}
