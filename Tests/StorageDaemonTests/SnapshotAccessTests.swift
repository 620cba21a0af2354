import IOLoop
import JSON
import NBDProtocol
import QAPI
import QMPClient
import QMPSchema
import StorageTestSupport
import Testing

/// What the snapshot-access scheme is for, shown on the whole daemon.
@Suite
struct SnapshotAccessTests {
    private static let count = 16
    private static let size = count * cluster

    /// Runs `body` with a disk of numbered clusters and an empty target.
    private func withDisk(
        scratch: JSONObject = [:], _ body: @escaping @Sendable (Daemon, NBDTestClient) async throws -> Void
    ) async throws {
        try await Daemon.run { daemon in
            try await daemon.openDisk(numberedDisk(Self.size))
            try await daemon.openScratch(size: Self.size, scratch)
            let guest = try await daemon.connect("disk")
            try await body(daemon, guest)
            guest.close()
        }
    }

    @Test func `reads outside of the bitmap fail, reads inside see the instant`() async throws {
        try await withDisk { daemon, guest in
            try await daemon.execute("block-dirty-bitmap-add", ["node": "disk", "name": "part"])
            for index in [3, 4, 9] { #expect(try await guest.writeCluster(index, 200) == 0) }
            try await daemon.cut(["bitmap": ["node": "disk", "name": "part"]])
            for index in 0..<Self.count { #expect(try await guest.writeCluster(index, 201) == 0) }
            let reader = try await daemon.connect("snap")
            for index in 0..<Self.count {
                if [3, 4, 9].contains(index) {
                    #expect(try await reader.readCluster(index) == [UInt8](repeating: 200, count: cluster))
                } else {
                    #expect(try await reader.readError(index * cluster, cluster) == WireError.invalid)
                }
            }
            #expect(try await reader.read(UInt64(3 * cluster), 2 * cluster).allSatisfy { $0 == 200 })
            for (offset, length) in [
                (3 * cluster - 1, 2), (5 * cluster - 1, 2), (0, Self.size), (9 * cluster, cluster + 1),
            ] {
                #expect(try await reader.readError(offset, length) == WireError.invalid)
            }
            #expect(try await daemon.allocatedSize("scratch.img") == 3 * cluster)
        }
    }

    @Test func `what the reader discards cannot be read, is not copied, and takes no space`() async throws {
        try await withDisk { daemon, guest in
            try await daemon.cut()
            for index in 0..<4 { #expect(try await guest.writeCluster(index, 200) == 0) }
            #expect(try await daemon.allocatedSize("scratch.img") == 4 * cluster)
            let reader = try await daemon.connect("snap")
            // Two clusters that lie in the target, and two that were not copied yet.
            #expect(try await reader.call(.trim, UInt64(2 * cluster), UInt64(4 * cluster)).error == 0)
            #expect(try await daemon.allocatedSize("scratch.img") == 2 * cluster)
            let (all, kept) = (Int64(Self.size), Int64(4 * cluster))
            #expect(
                try await daemon.filterCounts()
                    == FilterCounts(access: all - kept, done: kept, copy: all - 6 * Int64(cluster)))
            for index in 2..<6 { #expect(try await reader.readError(index * cluster, 1) == WireError.invalid) }
            for index in [0, 1, 6] { #expect(try await reader.readCluster(index) == clusterBytes(index)) }

            for index in 2..<6 { #expect(try await guest.writeCluster(index, 201) == 0) }
            #expect(try await daemon.allocatedSize("scratch.img") == 2 * cluster)
            #expect(try await daemon.filterCounts().copy == all - 6 * Int64(cluster))
            #expect(try await guest.writeCluster(6, 201) == 0)
            #expect(try await daemon.allocatedSize("scratch.img") == 3 * cluster)
            #expect(try await reader.readCluster(6) == clusterBytes(6))
        }
    }

    @Test func `snapshot reads do not wait for guest writes`() async throws {
        try await withDisk { daemon, guest in
            try await daemon.cut()
            let reader = try await daemon.connect("snap")
            // Held while the old data go to the target, and once more while the new data go to the disk.
            for (node, index) in [("scratch", 2), ("base", 3)] {
                try await daemon.hold("write_aio", below: node)
                try await guest.post(
                    .write, UInt64(index * cluster), UInt64(cluster),
                    payload: [UInt8](repeating: 200, count: cluster))
                try await daemon.waitUntilHeld(below: node)
                #expect(try await reader.readCluster(index) == clusterBytes(index))
                #expect(try await reader.readAll(Self.size) == numberedDisk(Self.size))
                try await daemon.letGo(below: node)
                #expect(try await guest.reply().error == 0)
                #expect(try await reader.readCluster(index) == clusterBytes(index))
                #expect(try await guest.readCluster(index).allSatisfy { $0 == 200 })
            }
        }
    }

    @Test func `guest writes wait only for snapshot reads of the same clusters`() async throws {
        try await withDisk { daemon, guest in
            try await daemon.cut()
            let reader = try await daemon.connect("snap")
            try await daemon.hold("read_aio", below: "base")
            try await reader.post(.read, UInt64(2 * cluster), UInt64(cluster), cookie: 7)
            try await daemon.waitUntilHeld(below: "base")

            // Other clusters, and those beside it, can be written.
            for index in [1, 3, 8] { #expect(try await guest.writeCluster(index, 200) == 0) }
            // A write of the cluster that is being read has its old data copied, and then waits.
            try await guest.post(
                .write, UInt64(2 * cluster + 512), 512, cookie: 8, payload: [UInt8](repeating: 201, count: 512))
            try await daemon.wait { try await daemon.filterCounts().done == Int64(4 * cluster) }
            #expect(try await daemon.bitmaps(of: "cbw").count == 3)
            try await guest.post(.read, 0, 512, cookie: 9)
            #expect(try await guest.reply(readLength: 512).cookie == 9)
            // Meanwhile others can read the cluster, from the target.
            let other = try await daemon.connect("snap")
            #expect(try await other.readCluster(2) == clusterBytes(2))

            try await daemon.letGo(below: "base")
            let read = try await reader.reply(readLength: cluster)
            #expect(read.error == 0 && read.cookie == 7)
            #expect(try read.data(UInt64(2 * cluster), cluster) == clusterBytes(2))
            let write = try await guest.reply()
            #expect(write.error == 0 && write.cookie == 8)
            #expect(try await guest.read(UInt64(2 * cluster + 512), 512).allSatisfy { $0 == 201 })
            #expect(try await other.readCluster(2) == clusterBytes(2))
        }
    }

    @Test func `a raw file is enough as the target`() async throws {
        try await withDisk { daemon, guest in
            try await daemon.cut()
            var random = SeededGenerator(seed: 4)
            for _ in 0..<60 {
                let offset = Int.random(in: 0..<Self.size - 1, using: &random)
                let length = Int.random(in: 1...min(3 * cluster, Self.size - offset), using: &random)
                let reply = try await guest.call(
                    .write, UInt64(offset), UInt64(length), payload: [UInt8](repeating: 255, count: length))
                #expect(reply.error == 0)
            }
            let reader = try await daemon.connect("snap")
            #expect(try await reader.readAll(Self.size) == numberedDisk(Self.size))
            let nodes = try await daemon.qmp.queryNamedBlockNodes()
            #expect(nodes.first { $0.nodeName == "scratch" }?.drv == "raw")
            #expect(nodes.allSatisfy { $0.backingFile == nil })
        }
    }

    @Test func `nobody else may write to the target`() async throws {
        try await withDisk { daemon, _ in
            try await daemon.cut()
            await #expect(
                throws: QMPError(
                    """
                    Permission conflict on node 'scratch': permissions 'write' are both required by an unnamed block \
                    device (uses node 'scratch' as 'root' child) and unshared by node 'cbw' (uses node 'scratch' as \
                    'target' child).
                    """)
            ) { try await daemon.export("scratch") }
            // Readers do no harm.
            try await daemon.export("scratch", ["writable": false])
            try await daemon.removeExport("scratch")
        }
    }

    @Test func `with break-snapshot an error of the target leaves the guest alone`() async throws {
        try await withDisk(
            scratch: ["inject-error": [["event": "write_aio", "iotype": "write", "sector": 512]]]
        ) { daemon, guest in
            try await daemon.cut(["on-cbw-error": "break-snapshot"])
            let reader = try await daemon.connect("snap")
            #expect(try await guest.writeCluster(0, 200) == 0)
            #expect(try await reader.readCluster(0) == clusterBytes(0))
            // Sector 512 lies in cluster 4.
            #expect(try await guest.writeCluster(4, 200) == 0)
            #expect(try await guest.readCluster(4).allSatisfy { $0 == 200 })
            for index in 0..<Self.count {
                #expect(try await reader.readError(index * cluster, 512) == WireError.invalid)
            }
            // Nothing is copied for a snapshot that is broken.
            #expect(try await guest.writeCluster(5, 200) == 0)
            #expect(try await daemon.allocatedSize("scratch.img") == cluster)
            try await daemon.endCut()
            #expect(try await guest.readCluster(4).allSatisfy { $0 == 200 })
        }
    }

    @Test func `with break-guest-write an error of the target leaves the snapshot alone`() async throws {
        try await withDisk(
            scratch: ["inject-error": [["event": "write_aio", "iotype": "write", "sector": 512, "once": true]]]
        ) { daemon, guest in
            try await daemon.cut(["on-cbw-error": "break-guest-write"])
            let reader = try await daemon.connect("snap")
            #expect(try await guest.writeCluster(4, 200) == WireError.io)
            #expect(try await guest.readCluster(4) == clusterBytes(4))
            #expect(try await reader.readAll(Self.size) == numberedDisk(Self.size))
            // The guest may try again.
            #expect(try await guest.writeCluster(4, 201) == 0)
            #expect(try await guest.readCluster(4).allSatisfy { $0 == 201 })
            #expect(try await reader.readAll(Self.size) == numberedDisk(Self.size))
        }
    }

    @Test(arguments: ["break-snapshot", "break-guest-write"])
    func `a target that is too slow is an error after cbw-timeout`(_ policy: String) async throws {
        try await withDisk { daemon, guest in
            // The first request may pass, the next would have to wait for more than a minute.
            try await daemon.execute(
                "object-add", ["qom-type": "throttle-group", "id": "slow", "limits": ["bps-total": 1024]])
            try await daemon.add([
                "driver": "throttle", "node-name": "throttled", "throttle-group": "slow", "file": "scratch",
                "discard": "unmap",
            ])
            try await daemon.cut(["target": "throttled", "on-cbw-error": .string(policy), "cbw-timeout": 1])
            #expect(try await guest.writeCluster(0, 200) == 0)
            let isBroken = policy == "break-snapshot"
            let error = try await guest.writeCluster(1, 200)
            #expect(error == (isBroken ? 0 : WireError.io))
            let expected = isBroken ? [UInt8](repeating: 200, count: cluster) : clusterBytes(1)
            #expect(try await guest.readCluster(1) == expected)
            let reader = try await daemon.connect("snap")
            #expect(try await reader.readError(2 * cluster, 512) == (isBroken ? WireError.invalid : 0))
        }
    }
}
