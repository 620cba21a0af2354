import JSON
import NBDProtocol
import QMPClient
import QMPSchema
import StorageTestSupport
import Testing

/// The size of a cluster of copy-before-write filters, in bytes.
let cluster = 65536

/// Bytes of a disk in which each cluster is full of a number of its own, never 0.
func numberedDisk(_ count: Int) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(count)
    for start in stride(from: 0, to: count, by: cluster) {
        bytes += clusterBytes(start / cluster, min(cluster, count - start))
    }
    return bytes
}

/// The bytes of one cluster of a numbered disk.
func clusterBytes(_ index: Int, _ count: Int = cluster) -> [UInt8] {
    [UInt8](repeating: UInt8(index % 250 + 1), count: count)
}

// A disk as a virtual machine has it, and a backup of it:
//
//     disk-file (file) <- debug (blkdebug) <- base (raw) <- [cbw] <- disk (raw), exported to the guest
//     scratch-file (file) <- scratch-debug (blkdebug) <- scratch (raw), the target of cbw <- snap, exported
extension Daemon {
    /// Adds the disk, starts the NBD server, and exports the disk.
    func openDisk(_ bytes: [UInt8]) async throws {
        try await makeFile("disk.img", bytes)
        try await openDisk()
    }

    /// Does the same with the file `disk.img`, which is there.
    func openDisk() async throws {
        try await addFile("disk-file", "disk.img")
        try await add(["driver": "blkdebug", "node-name": "debug", "image": "disk-file", "discard": "unmap"])
        try await add(["driver": "raw", "node-name": "base", "file": "debug", "discard": "unmap"])
        try await add(["driver": "raw", "node-name": "disk", "file": "base", "discard": "unmap"])
        try await startServer()
        try await export("disk")
    }

    /// Adds the node for old data, an empty raw file; `options` are those of its `blkdebug` node.
    func openScratch(size: Int, _ options: JSONObject = [:]) async throws {
        try await makeFile("scratch.img", size: size)
        try await addFile("scratch-file", "scratch.img")
        var debug: JSONObject = [
            "driver": "blkdebug", "node-name": "scratch-debug", "image": "scratch-file", "discard": "unmap",
        ]
        for member in options.members { debug[member.name] = member.value }
        try await add(debug)
        try await add(["driver": "raw", "node-name": "scratch", "file": "scratch-debug", "discard": "unmap"])
    }

    /// Begins a point in time, and exports it; `options` are those of the filter.
    func cut(_ options: JSONObject = [:]) async throws {
        var filter: JSONObject = [
            "driver": "copy-before-write", "node-name": "cbw", "file": "base", "target": "scratch", "discard": "unmap",
        ]
        for member in options.members { filter[member.name] = member.value }
        try await add(filter)
        try await replaceFile(of: "disk", by: "cbw")
        try await add(["driver": "snapshot-access", "node-name": "snap", "file": "cbw", "discard": "unmap"])
        try await export("snap")
    }

    /// Ends the point in time.
    func endCut() async throws {
        try await removeExport("snap")
        try await qmp.blockdevDel(nodeName: "snap")
        try await replaceFile(of: "disk", by: "base")
        try await qmp.blockdevDel(nodeName: "cbw")
    }

    /// Holds the next request that causes an event at the `blkdebug` node below `node`.
    func hold(_ event: String, below node: String, as tag: String = "held") async throws {
        #expect(try await io(node, "break \(event) \(tag)") == "")
    }

    /// Returns when a request is held.
    func waitUntilHeld(below node: String, as tag: String = "held") async throws {
        #expect(try await io(node, "wait_break \(tag)") == "")
    }

    /// Lets the held request go on.
    func letGo(below node: String, as tag: String = "held") async throws {
        #expect(try await io(node, "resume \(tag)") == "")
    }
}

extension NBDTestClient {
    /// Writes a cluster full of a byte; the error of the reply, 0 for none.
    func writeCluster(_ index: Int, _ byte: UInt8) async throws -> UInt32 {
        try await call(
            .write, UInt64(index * cluster), UInt64(cluster), payload: [UInt8](repeating: byte, count: cluster)
        ).error
    }

    /// Reads a cluster.
    func readCluster(_ index: Int) async throws -> [UInt8] { try await read(UInt64(index * cluster), cluster) }

    /// The error of a read, 0 for none.
    func readError(_ offset: Int, _ count: Int) async throws -> UInt32 {
        try await call(.read, UInt64(offset), UInt64(count)).error
    }

    /// Reads everything, in large pieces.
    func readAll(_ count: Int) async throws -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count)
        while bytes.count < count {
            bytes += try await read(UInt64(bytes.count), min(1 << 20, count - bytes.count))
        }
        return bytes
    }
}

/// Error numbers of the NBD protocol.
enum WireError {
    static let io: UInt32 = 5
    static let invalid: UInt32 = 22
}
