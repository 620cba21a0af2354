import BlockDrivers
import BlockGraph
import BlockTestSupport
import IOLoop
import Qcow2Format
import Testing

@Suite struct Qcow2ImageTests {
    typealias Shape = Qcow2ImageBytes.Shape

    /// Shapes that differ in what matters to the tables.
    static let shapes = [
        Shape(), Shape(clusterBits: 9, refcountOrder: 6), Shape(clusterBits: 9, refcountOrder: 0, clusterCount: 5000),
        Shape(version: 2, clusterBits: 10), Shape(clusterBits: 14, refcountOrder: 2, isExtended: true),
        Shape(clusterBits: 16, refcountOrder: 3),
    ]

    @Test(arguments: shapes) func `an empty image has no L2 tables`(shape: Shape) async throws {
        try await GraphFixture.run { fixture in
            let disk = RecordingDisk(Qcow2ImageBytes(shape).bytes)
            let rig = try await Qcow2Rig(disk, in: fixture)
            #expect(try await rig.entry(0) == nil)
            #expect(try await rig.entry(shape.clusterCount - 1) == nil)
            #expect(rig.image.virtualSize == Int64(shape.clusterCount * shape.clusterSize))
            try await rig.image.makeClean()
            #expect(disk.bytes == Qcow2ImageBytes(shape).bytes)
        }
    }

    @Test(arguments: shapes) func `entries that were set are on disk after a commit`(shape: Shape) async throws {
        try await GraphFixture.run { fixture in
            let disk = RecordingDisk(Qcow2ImageBytes(shape).bytes)
            let rig = try await Qcow2Rig(disk, in: fixture)
            let guestClusters = [0, 1, 2, shape.clusterCount / 2, shape.clusterCount - 1]
            for (index, cluster) in guestClusters.enumerated() { try await rig.put(cluster, UInt8(index + 1)) }
            try await rig.image.commit()
            let image = Qcow2ImageBytes(disk.bytes)
            for (index, cluster) in guestClusters.enumerated() {
                let entry = try #require(image.entry(cluster))
                #expect(entry.0 >> 63 == 1)
                #expect(image.bytes[Int(entry.0 & 0x00FF_FFFF_FFFF_FE00)] == UInt8(index + 1))
            }
            let findings = Qcow2Findings(image)
            #expect(findings.errors.isEmpty && findings.leaks.isEmpty, "\(findings)")
        }
    }

    @Test(arguments: shapes) func `released clusters are used again after a commit`(shape: Shape) async throws {
        try await GraphFixture.run { fixture in
            let disk = RecordingDisk(Qcow2ImageBytes(shape).bytes)
            let rig = try await Qcow2Rig(disk, in: fixture)
            for _ in 0..<20 {
                for cluster in 0..<8 { try await rig.put(cluster, 1) }
                try await rig.image.commit()
            }
            try await rig.image.makeClean()
            let findings = Qcow2Findings(Qcow2ImageBytes(disk.bytes))
            #expect(findings.errors.isEmpty && findings.leaks.isEmpty, "\(findings)")
            #expect(disk.bytes.count <= Qcow2ImageBytes(shape).bytes.count + 30 * shape.clusterSize)
        }
    }
}
