import BlockDrivers
import BlockGraph
import BlockTestSupport
import IOLoop
import Qcow2Format
import Testing

@Suite struct Qcow2ImageSpaceTests {
    typealias Shape = Qcow2ImageBytes.Shape

    private func check(_ disk: RecordingDisk, leaks: Int = 0) {
        let findings = Qcow2Findings(Qcow2ImageBytes(disk.bytes))
        #expect(findings.errors.isEmpty && findings.leaks.count == leaks, "\(findings)")
    }

    @Test func `a run of clusters is allocated at once and goes on where it ended`() async throws {
        try await GraphFixture.run { fixture in
            let disk = RecordingDisk(Qcow2ImageBytes(Shape()).bytes)
            let image = try await Qcow2Rig(disk, in: fixture).image
            let first = try await image.allocateClusters(atMost: 10)
            #expect(first.length == 10 * 4096)
            let second = try await image.allocateClusters(atMost: 3, contiguousWith: first.upperBound)
            #expect(second == first.upperBound..<first.upperBound + 3 * 4096)
            #expect(try await image.refcount(ofClusterAt: second.upperBound - 1) == 1)
            #expect(try await image.refcount(ofClusterAt: second.upperBound) == 0)
        }
    }

    @Test func `abandoned clusters are used again at once`() async throws {
        try await GraphFixture.run { fixture in
            let disk = RecordingDisk(Qcow2ImageBytes(Shape()).bytes)
            let image = try await Qcow2Rig(disk, in: fixture).image
            let first = try await image.allocateClusters(atMost: 5)
            image.abandon(first)
            #expect(try await image.allocateClusters(atMost: 5) == first)
            image.abandon(first)
            try await image.makeClean()
            check(disk)
        }
    }

    @Test func `released clusters wait for the commit and for the requests under way`() async throws {
        try await GraphFixture.run { fixture in
            let disk = RecordingDisk(Qcow2ImageBytes(Shape()).bytes)
            let rig = try await Qcow2Rig(disk, in: fixture)
            let image = rig.image
            try await rig.put(0, 1)
            let cluster = Int64(try #require(try await rig.entry(0)) & 0x00FF_FFFF_FFFF_FE00)
            try await image.commit()
            let reader = image.beginRequest()
            try await rig.drop(0)
            #expect(try await image.refcount(ofClusterAt: cluster) == 1)
            try await image.commit()
            try await image.commit()
            #expect(try await image.refcount(ofClusterAt: cluster) == 1)
            // A request that began later does not count.
            let late = image.beginRequest()
            image.endRequest(reader)
            try await image.commit()
            #expect(try await image.refcount(ofClusterAt: cluster) == 0)
            image.endRequest(late)
            try await image.makeClean()
            check(disk)
        }
    }

    @Test func `the refcount table grows`() async throws {
        let shape = Shape(clusterBits: 9, refcountOrder: 6)
        try await GraphFixture.run { fixture in
            let disk = RecordingDisk(Qcow2ImageBytes(shape).bytes)
            let image = try await Qcow2Rig(disk, in: fixture).image
            let former = image.header.refcountTableOffset
            var clusters: Set<Int64> = []
            var ranges: [ByteRange] = []
            let inTable = 64 * shape.refcountsInBlock
            while clusters.count < inTable * 9 / 4 {
                let range = try await image.allocateClusters(atMost: 1000)
                ranges.append(range)
                for offset in stride(from: range.lowerBound, to: range.upperBound, by: 512) {
                    #expect(clusters.insert(offset).inserted)
                }
            }
            #expect(image.header.refcountTableOffset != former)
            #expect(image.header.refcountTableClusters > 1)
            try await image.commit()
            #expect(Qcow2Findings(Qcow2ImageBytes(disk.bytes)).errors.isEmpty)
            for range in ranges { image.abandon(range) }
            try await image.makeClean()
            check(disk)
        }
    }

    @Test(arguments: [1, 2, 63, 64, 65, 500, 5000])
    func `tables get clusters in a row`(count: Int) async throws {
        try await GraphFixture.run { fixture in
            let disk = RecordingDisk(Qcow2ImageBytes(Shape(clusterBits: 9, refcountOrder: 6)).bytes)
            let image = try await Qcow2Rig(disk, in: fixture).image
            // Holes of one cluster, and some space.
            var ranges: [ByteRange] = []
            for _ in 0..<40 { ranges.append(try await image.allocateClusters(atMost: 1)) }
            for index in stride(from: 0, to: 40, by: 2) { image.abandon(ranges[index]) }
            let table = try await image.allocateContiguously(count)
            #expect(table.length == Int64(count) * 512)
            for offset in stride(from: table.lowerBound, to: table.upperBound, by: 512) {
                #expect(try await image.refcount(ofClusterAt: offset) == 1)
            }
            image.abandon(table)
            for index in stride(from: 1, to: 40, by: 2) { image.abandon(ranges[index]) }
            try await image.makeClean()
            check(disk)
        }
    }

    @Test func `a refcount does not become greater than its width allows, nor negative`() async throws {
        try await GraphFixture.run { fixture in
            let disk = RecordingDisk(Qcow2ImageBytes(Shape(refcountOrder: 1)).bytes)
            let image = try await Qcow2Rig(disk, in: fixture).image
            let range = try await image.allocateClusters(atMost: 2)
            try await image.addReference(2, to: range)
            #expect(await errno { () throws(Errno) in try await image.addReference(1, to: range) } == .EINVAL)
            #expect(try await image.refcount(ofClusterAt: range.lowerBound) == 3)
            try await image.addReference(-3, to: range)
            #expect(await errno { () throws(Errno) in try await image.addReference(-1, to: range) } == .EINVAL)
        }
    }

    @Test(arguments: [0, 4]) func `compressed data share clusters as far as refcounts allow`(order: Int) async throws {
        try await GraphFixture.run { fixture in
            let disk = RecordingDisk(Qcow2ImageBytes(Shape(refcountOrder: order)).bytes)
            let image = try await Qcow2Rig(disk, in: fixture).image
            var extents: [ByteRange] = []
            for count in [100, 4000, 1, 4096, 4095, 700] {
                let offset = try await image.allocateBytes(count)
                let extent = offset..<offset + Int64(count)
                for other in extents { #expect(!other.overlaps(extent)) }
                extents.append(extent)
            }
            if order == 0 {
                for extent in extents { #expect(extent.lowerBound % 4096 == 0) }
            } else {
                #expect(extents[1].lowerBound == extents[0].upperBound)
                #expect(try await image.refcount(ofClusterAt: extents[0].lowerBound) == 2)
            }
            for extent in extents { image.abandon(extent) }
            try await image.makeClean()
            check(disk)
        }
    }

    @Test func `a full disk is an error of the request, and nothing is lost`() async throws {
        let shape = Shape(clusterBits: 9, refcountOrder: 6, clusterCount: 2000)
        let start = Qcow2ImageBytes(shape).bytes
        let disk = RecordingDisk(start)
        disk.limit(toSize: start.count + 100 * 512)
        try await GraphFixture.run { fixture in
            let rig = try await Qcow2Rig(disk, in: fixture)
            var stored: [Int] = []
            for cluster in 0..<200 {
                let error = await errno { () throws(Errno) in try await rig.put(cluster, UInt8(cluster)) }
                if error == nil { stored.append(cluster) } else { #expect(error == .ENOSPC) }
            }
            #expect((50..<100).contains(stored.count))
            try await rig.image.makeClean()
            let image = Qcow2ImageBytes(disk.bytes)
            for cluster in stored {
                let entry = try #require(image.entry(cluster))
                #expect(image.bytes[Int(entry.0 & 0x00FF_FFFF_FFFF_FE00)] == UInt8(cluster))
            }
            #expect(Qcow2Findings(image).errors.isEmpty)
        }
    }

    @Test func `the L1 table grows and keeps its entries`() async throws {
        let shape = Shape(clusterBits: 9, clusterCount: 3000)
        let disk = RecordingDisk(Qcow2ImageBytes(shape).bytes)
        try await GraphFixture.run { fixture in
            let rig = try await Qcow2Rig(disk, in: fixture)
            for cluster in [0, 100, 2999] { try await rig.put(cluster, 7) }
            let former = rig.image.header.l1TableOffset
            try await rig.image.growL1(to: shape.l1Count + 500)
            #expect(rig.image.header.l1TableOffset != former)
            try await rig.image.updateHeader { $0.virtualSize += 500 * 64 * 512 }
            try await rig.put(3000 + 499 * 64, 8)
            try await rig.image.makeClean()
            let image = Qcow2ImageBytes(disk.bytes)
            #expect(image.l1Count == shape.l1Count + 500)
            for cluster in [0, 100, 2999, 3000 + 499 * 64] { #expect(image.entry(cluster)?.0 ?? 0 != 0) }
            check(disk)
        }
    }

    @Test func `L2 tables go when the disk becomes shorter`() async throws {
        let disk = RecordingDisk(Qcow2ImageBytes(Shape(clusterBits: 9, clusterCount: 3000)).bytes)
        try await GraphFixture.run { fixture in
            let rig = try await Qcow2Rig(disk, in: fixture)
            for cluster in [0, 100, 2999] { try await rig.put(cluster, 7) }
            try await rig.drop(2999)
            try await rig.drop(100)
            await rig.image.dropL2Tables(fromEntry: 1)
            #expect(try await rig.entry(2999) == nil)
            try await rig.put(2000, 9)
            try await rig.image.makeClean()
            #expect(Qcow2ImageBytes(disk.bytes).entry(100) == nil)
            check(disk)
        }
    }

    @Test func `clusters are discarded before they are free, where the options say so`() async throws {
        for passes in [false, true] {
            try await GraphFixture.run { fixture in
                let disk = RecordingDisk(Qcow2ImageBytes(Shape()).bytes)
                var configuration = Qcow2Configuration()
                configuration.passDiscardOther = passes
                let rig = try await Qcow2Rig(disk, in: fixture, configuration, discards: true)
                for cluster in 0..<4 { try await rig.put(cluster, 1) }
                let first = Int64(try #require(try await rig.entry(0)) & 0x00FF_FFFF_FFFF_FE00)
                for cluster in 0..<4 { try await rig.drop(cluster) }
                try await rig.image.commit()
                #expect(disk.discards.reduce(0) { $0 + $1.length } == (passes ? 4 * 4096 : 0))
                if passes { #expect(disk.discards.first?.lowerBound == first) }
                try await rig.image.makeClean()
                check(disk)
            }
        }
    }
}
