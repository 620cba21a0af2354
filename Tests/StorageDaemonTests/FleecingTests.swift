import IOLoop
import JSON
import NBDProtocol
import QMPClient
import QMPSchema
import StorageTestSupport
import Testing

/// Points in time of disks as they come: with odd sizes, time limits, holes, and clients that all ask at once.
@Suite
struct FleecingTests {
    @Test(arguments: [0, 4, 5, 60, 4_294_967_295] as [Int64])
    func `a copy in time is a good copy, whatever the time limit`(_ seconds: Int64) async throws {
        let size = 4 * cluster
        try await Daemon.run { daemon in
            try await daemon.openDisk(numberedDisk(size))
            try await daemon.openScratch(size: size)
            try await daemon.cut(["cbw-timeout": .integer(seconds), "on-cbw-error": "break-guest-write"])
            let (guest, reader) = (try await daemon.connect("disk"), try await daemon.connect("snap"))
            try await daemon.hold("write_aio", below: "scratch")
            try await guest.post(.write, 0, UInt64(cluster), payload: [UInt8](repeating: 200, count: cluster))
            try await daemon.waitUntilHeld(below: "scratch")
            // 60 seconds taken for nanoseconds of 32 bits would be over after 4.2.
            if seconds == 60 { try await IOLoop.sleep(for: .milliseconds(4500)) }
            try await daemon.letGo(below: "scratch")
            #expect(try await guest.reply().error == 0)
            for index in 1..<4 { #expect(try await guest.writeCluster(index, 200) == 0) }
            #expect(try await reader.readAll(size) == numberedDisk(size))
        }
    }

    @Test(arguments: [512, cluster - 512, cluster + 512, 1000 << 10, 1000 << 10 + 512])
    func `a disk that does not end with a cluster is kept to its last byte`(_ size: Int) async throws {
        try await Daemon.run { daemon in
            let before = numberedDisk(size)
            try await daemon.openDisk(before)
            try await daemon.openScratch(size: size)
            try await daemon.cut()
            let (guest, reader) = (try await daemon.connect("disk"), try await daemon.connect("snap"))
            #expect(try await reader.readAll(size) == before)
            let all = [UInt8](repeating: 255, count: size)
            #expect(try await guest.call(.write, UInt64(size - 1), 1, payload: [255]).error == 0)
            #expect(try await reader.readAll(size) == before)
            #expect(try await guest.call(.write, 0, UInt64(size), payload: all).error == 0)
            #expect(try await reader.readAll(size) == before)
            #expect(try await guest.readAll(size) == all)

            // The end of the disk is the end of its last cluster; a byte less is no whole cluster.
            let last = (size - 1) / cluster * cluster
            #expect(try await reader.call(.trim, UInt64(last), UInt64(size - last - 1)).error == 0)
            #expect(try await reader.readAll(size) == before)
            #expect(try await reader.call(.trim, UInt64(last), UInt64(size - last)).error == 0)
            #expect(try await reader.readError(size - 1, 1) == WireError.invalid)
            if last > 0 { #expect(try await reader.readAll(last) == Array(before[..<last])) }
            #expect(try await guest.readAll(size) == all)
            try await daemon.endCut()
            #expect(try await daemon.contents("disk.img") == all)
        }
    }

    @Test func `only whole clusters are discarded`() async throws {
        let count = 12
        let size = count * cluster
        try await Daemon.run { daemon in
            try await daemon.openDisk(numberedDisk(size))
            try await daemon.openScratch(size: size)
            try await daemon.cut()
            let (guest, reader) = (try await daemon.connect("disk"), try await daemon.connect("snap"))
            for index in stride(from: 0, to: count, by: 2) { #expect(try await guest.writeCluster(index, 200) == 0) }
            var gone: Set<Int> = []
            let discards = [
                (1, 2 * cluster - 1), (cluster + 1, cluster), (2 * cluster, 1), (4 * cluster - 512, cluster + 1024),
                (6 * cluster - 1, 3 * cluster), (9 * cluster, cluster + 1),
            ]
            for (offset, length) in discards {
                #expect(try await reader.call(.trim, UInt64(offset), UInt64(length)).error == 0)
                gone.formUnion(
                    (0..<count).filter { $0 * cluster >= offset && ($0 + 1) * cluster <= offset + length })
                for index in 0..<count {
                    let error = try await reader.readError(index * cluster, cluster)
                    #expect(error == (gone.contains(index) ? WireError.invalid : 0), "cluster \(index)")
                }
                #expect(try await daemon.filterCounts().access == Int64((count - gone.count) * cluster))
            }
            for index in 0..<count where !gone.contains(index) {
                #expect(try await guest.writeCluster(index, 201) == 0)
                #expect(try await reader.readCluster(index) == clusterBytes(index))
            }
        }
    }

    @Test func `connections that ask for the block status at once all see the instant`() async throws {
        let count = 32
        let size = count * cluster
        try await Daemon.run(["--object", "iothread,id=io0", "--object", "iothread,id=io1"]) { daemon in
            try await daemon.makeFile("disk.img", size: size)
            try await daemon.openDisk()
            try await daemon.removeExport("disk")
            try await daemon.export("disk", ["iothread": "io0"])
            let guest = try await daemon.connect("disk")
            for index in 0..<count where index % 3 == 0 { #expect(try await guest.writeCluster(index, 7) == 0) }
            try await daemon.openScratch(size: size)
            try await daemon.cut()
            try await daemon.removeExport("snap")
            try await daemon.export("snap", ["iothread": ["io0", "io1"]])
            let expected = (0..<count).map { $0 % 3 == 0 }

            try await withThrowingTaskGroup { group in
                group.addTask {
                    let guest = try await daemon.connect("disk")
                    for index in 0..<count { #expect(try await guest.writeCluster(index * 7 % count, 9) == 0) }
                }
                for number in 0..<6 {
                    group.addTask {
                        let headers: NBDHeaderMode = number % 2 == 0 ? .structured : .extended
                        let reader = try await daemon.connect("snap", headers: headers, contexts: ["base:allocation"])
                        for round in 0..<10 {
                            let first = (round * 5 + number) % count
                            #expect(try await reader.clustersWithData(first..<count) == Array(expected[first...]))
                        }
                    }
                }
                try await group.waitForAll()
            }
        }
    }
}

extension NBDTestClient {
    /// Which of the clusters hold data, by the block status of their whole range.
    fileprivate func clustersWithData(_ clusters: Range<Int>) async throws -> [Bool] {
        var result: [Bool] = []
        var offset = clusters.lowerBound * cluster
        while offset < clusters.upperBound * cluster {
            let reply = try await call(.blockStatus, UInt64(offset), UInt64(clusters.upperBound * cluster - offset))
            guard reply.error == 0, case .status(_, let extents)? = reply.chunks.first, !extents.isEmpty else {
                throw NBDTestFailure("block status: error \(reply.error)")
            }
            for extent in extents {
                guard extent.length % UInt64(cluster) == 0 else { throw NBDTestFailure("extent of \(extent.length)") }
                result += [Bool](repeating: extent.status == 0, count: Int(extent.length) / cluster)
                offset += Int(extent.length)
            }
        }
        return result
    }
}
